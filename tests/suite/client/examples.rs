//! The examples of docs/client.md, run as they stand there.

use std::path::Path;
use std::process::Command;

use salon::engine::http::Account;
use serde_json::json;

use super::tab::Tab;
use crate::support::browser::Browsers;
use crate::support::node::{Folder, Single, unique};

/// The code in the page that begins with such a line.
fn example(begins: &str) -> String {
    let page = include_str!("../../../docs/client.md");
    let mut blocks = page.split("```js\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks
        .find(|code| code.starts_with(begins))
        .unwrap_or_else(|| panic!("no example begins with {begins:?}"))
        .to_owned()
}

/// With a room that is called as in the examples.
async fn place() -> (Single, Account) {
    let single = Single::start().await;
    let owner = Account::register(&single.url(), &unique("owner")).await.expect("registration");
    owner.http.create_room("general", "public").await.expect("a room");
    (single, owner)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_ten_lines_chat_in_a_browser() {
    const IMPORT: &str = "import { Salon } from '/salon.js';";
    let (single, owner) = place().await;
    let browsers = Browsers::start().await;
    let tab = Tab::open(&browsers, &single.url()).await;
    tab.register(&unique("ann")).await;
    // What is run by a driver is no module, but may load one.
    let code = example(IMPORT).replace(IMPORT, "const { Salon } = await import('/salon.js');");
    let log = "const said = []; const console = { log: (...words) => said.push(words.join(' ')) };";
    let said = tab.run(&format!("{log} {code} return said;")).await;
    for line in ["connecting", "online", "0 messages so far", "stored as 1"] {
        assert!(said.as_array().is_some_and(|said| said.contains(&json!(line))), "{line}: {said}");
    }
    let history = owner.http.get("/api/rooms/general/messages").await.expect("history").json();
    assert_eq!(history[0]["content"], "hello from ten lines");
    tab.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_for_node_runs_there() {
    let (single, _) = place().await;
    let name = unique("robot");
    let robot = Account::register(&single.url(), &name).await.expect("registration");
    let folder = Folder::new("client-example");
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
    for entry in std::fs::read_dir(web).expect("the folder").flatten() {
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).expect("a copy");
    }
    std::fs::write(folder.path().join("example.js"), example("import { Salon } from './salon.js';")).expect("a file");
    let mut node = Command::new("node");
    node.args(["--experimental-websocket", "--no-warnings", "example.js"]).current_dir(folder.path());
    node.env("SALON_URL", single.url()).env("SALON_USER", &name).env("SALON_PASSWORD", &robot.password);
    let output = tokio::task::spawn_blocking(move || node.output()).await.expect("it ran").expect("node");
    let told = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(told.0, "hello from a program 👋\n", "{}", told.1);
    assert!(output.status.success());
}

//! `web/salon.d.ts`: what the client module is said to give is what it gives, by the TypeScript compiler.

use std::path::Path;
use std::process::Command;

use salon::engine::http::Http;

use super::{run, tool};
use crate::support::node::{Folder, Single};

/// The module as it is written, its comments taken for types, held against what is written down of it.
const COMPARE: &str = "
import * as is from './js/salon.js';
import * as says from './types/salon.js';
export const all: Omit<typeof says, 'Salon' | 'SalonError'> = is;
export const salon: new (options?: says.Options) => says.Salon = is.Salon;
export const error: new (code: string, detail?: string, more?: object) => says.SalonError = is.SalonError as any;
export const nothing_is_left_out: Exclude<keyof says.Salon, keyof is.Salon> extends never ? true : false = true;
export const nothing_is_hidden: Exclude<keyof is.Salon, keyof says.Salon> extends never ? true : false = true;
";

/// Somebody's program, with what the compiler must refuse.
const USE: &str = "
import { Salon, SalonError, mergeChange, type Message, type SalonEvents } from './types/salon.js';
const salon = new Salon({ base: 'https://chat.example.org', token: async () => 'x', transport: 'auto' });
const held = new Map<number, Message>();
const end: () => void = salon.on('change', (message) => mergeChange(held, message));
salon.on('state', ({ state, transport }) => console.log(state === 'online', transport === 'events'));
salon.on('user_join', ({ user, user_count }) => console.log(user.length + user_count));
salon.on('removed', ({ reason }) => console.log(reason === 'kicked'));
salon.on('restored', async ({ content, done }) => console.log(content, (await done).id));
salon.connect({ user: { id: 7, username: 'alice', role: 'user' } });
export async function chat(): Promise<number> {
  const { messages } = await salon.join('general', { limit: 20 });
  const { nonce, done } = salon.send('general', 'hi', { reply_to: messages[0].id });
  try {
    return (await done).seq + nonce.length;
  } catch (error) {
    if (error instanceof SalonError && error.code === 'closed') return 0;
    throw error;
  }
}
export const position: { after: number; epoch: string } | undefined = salon.position(3);
export type Names = SalonEvents['user_list']['users'];
// @ts-expect-error: no such event
salon.on('changed', () => {});
// @ts-expect-error: no such transport
new Salon({ transport: 'pigeon' });
// @ts-expect-error: content is text
salon.send('general', 7);
end();
";

#[test]
fn the_module_is_as_its_types_say() {
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
    let folder = Folder::new("client-types");
    let write = |name: &str, text: &[u8]| {
        let file = folder.path().join(name);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        std::fs::write(file, text).expect("a file");
    };
    for entry in std::fs::read_dir(&web).expect("the folder").flatten() {
        let name = entry.file_name().into_string().expect("a name in ASCII");
        let text = std::fs::read(entry.path()).expect("a file");
        let is_module = (name.starts_with("salon") || name == "http.js") && name.ends_with(".js");
        // Apart from each other: beside its types a module would not be looked at.
        if is_module || name == "frames.d.ts" {
            write(&format!("js/{name}"), &text);
        }
        if name == "salon.d.ts" || name == "frames.d.ts" {
            write(&format!("types/{name}"), &text);
        }
    }
    write("package.json", br#"{"type": "module"}"#);
    write("compare.ts", COMPARE.as_bytes());
    write("use.ts", USE.as_bytes());
    let options = "--strict --noImplicitAny false --noEmit --allowJs --checkJs --target es2023 --module nodenext \
        --lib es2023,dom,dom.iterable,dom.asynciterable compare.ts use.ts";
    let mut compiler = Command::new(tool("node_modules/.bin/tsc"));
    run(compiler.args(options.split_whitespace()).arg("--types").arg("").current_dir(folder.path()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_types_lie_beside_the_module() {
    let single = Single::shared().await;
    for (path, kind) in
        [("/salon.js", "text/javascript"), ("/salon.d.ts", "text/plain"), ("/frames.d.ts", "text/plain")]
    {
        let answer = Http::new(&single.url()).get(path).await.expect("an answer");
        let told = answer.content_type().split(';').next().unwrap_or_default();
        assert_eq!((answer.status, told), (200, kind), "{path}");
    }
}

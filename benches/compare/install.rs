//! Puts what salon is compared with into `target/compare`, and says what is there.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::Result;
use super::support::postgres::{program, run};

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/compare");

/// The folder with `socketio.mjs` beside its packages.
pub fn socketio() -> Result<PathBuf> {
    let folder = folder("socketio")?;
    copy("socketio.mjs", &folder)?;
    if copy("package.json", &folder)? || !folder.join("node_modules").exists() {
        eprintln!("installing Socket.IO into {}", folder.display());
        let mut npm = Command::new("npm");
        run(npm.args(["install", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(&folder))?;
    }
    Ok(folder)
}

/// The folder with Channels in a virtual environment.
pub fn channels() -> Result<PathBuf> {
    let folder = folder("channels")?;
    if copy("requirements.txt", &folder)? || !folder.join("bin/uvicorn").exists() {
        eprintln!("installing Channels into {}", folder.display());
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        let mut pip = Command::new(folder.join("bin/pip"));
        pip.args(["install", "--quiet", "--no-input", "--disable-pip-version-check", "-r"]);
        run(pip.arg(folder.join("requirements.txt")))?;
    }
    Ok(folder)
}

/// Where the Python package of ours is.
pub fn python_path() -> &'static str {
    SOURCES
}

/// What exactly is compared; what is not there is left out.
pub fn versions() -> Vec<String> {
    let mut versions = vec![format!("salon {} {}", env!("CARGO_PKG_VERSION"), commit())];
    let mut ask = |program: &Path, arguments: &[&str]| {
        if let Ok(said) = run(Command::new(program).args(arguments)) {
            versions.extend(said.lines().next().map(|line| line.trim().to_owned()));
        }
    };
    ask(&program("postgres"), &["--version"]);
    ask(Path::new("redis-server"), &["--version"]);
    let node = "const of = name => name + ' ' + \
                JSON.parse(require('fs').readFileSync('node_modules/' + name + '/package.json')).version; \
                process.chdir(process.argv[1]); \
                console.log('node', process.version, ['socket.io', '@socket.io/redis-adapter', 'redis'].map(of).join(' '))";
    ask(Path::new("node"), &["-e", node, &target("socketio").display().to_string()]);
    let python = "import platform, importlib.metadata as m; print('python', platform.python_version(), *(n + ' ' + \
                  m.version(n) for n in ('channels', 'channels_redis', 'redis', 'django', 'uvicorn', 'uvloop', 'websockets')))";
    ask(&target("channels").join("bin/python"), &["-c", python]);
    versions
}

fn commit() -> String {
    let mut git = Command::new("git");
    git.args(["describe", "--always", "--dirty"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    run(&mut git).map(|said| said.trim().to_owned()).unwrap_or_default()
}

fn target(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/compare").join(name)
}

fn folder(name: &str) -> Result<PathBuf> {
    let folder = target(name);
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}

/// Copies one of our files; whether it was not there, or another one was.
fn copy(name: &str, folder: &Path) -> Result<bool> {
    let (from, to) = (Path::new(SOURCES).join(name), folder.join(name));
    let ours = std::fs::read(&from).map_err(|error| format!("{}: {error}", from.display()))?;
    let same = std::fs::read(&to).is_ok_and(|theirs| theirs == ours);
    if !same {
        std::fs::write(&to, ours).map_err(|error| format!("{}: {error}", to.display()))?;
    }
    Ok(!same)
}

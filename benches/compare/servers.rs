//! What is compared: how each is started, on how many processes, and how it is spoken to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use clap::ValueEnum;

use super::load::{Dialect, Salon};
use super::support::Result;
use super::support::guarded::{Guarded, free_port, new_folder};
use super::support::postgres::{self, Postgres};
use super::{cpu, install};

/// Signs the users' tokens; any text of 32 bytes will do.
const ISSUER_KEY: &str = "the key of the users of a comparison";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Kind {
    BareEach,
    BareCoalesced,
    #[value(name = "socketio")]
    SocketIo,
    Channels,
    Salon,
}

/// What all of them share.
pub struct Backends {
    pub redis: Redis,
    pub postgres: Postgres,
}

pub struct Redis {
    server: Guarded,
    port: u16,
}

/// The processes of one server, just started.
pub struct Running {
    pub kind: Kind,
    pub addresses: Vec<SocketAddr>,
    nodes: Vec<Guarded>,
}

/// CPU time in microseconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spent {
    pub nodes: u64,
    pub redis: u64,
    pub postgres: u64,
    /// This process: the load.
    pub own: u64,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::BareEach => "bare, one write each",
            Self::BareCoalesced => "bare, coalesced",
            Self::SocketIo => "Socket.IO",
            Self::Channels => "Channels",
            Self::Salon => "salon",
        }
    }

    pub fn dialect(self) -> Dialect {
        match self {
            Self::BareEach | Self::BareCoalesced => Dialect::Bare,
            Self::SocketIo => Dialect::SocketIo,
            Self::Channels => Dialect::Channels,
            Self::Salon => Dialect::Salon(Salon { key: ISSUER_KEY.to_owned(), makes_rooms: false }),
        }
    }

    /// To open rooms with before they are joined, where that is needed.
    pub fn making_dialect(self) -> Option<Dialect> {
        (self == Self::Salon).then(|| Dialect::Salon(Salon { key: ISSUER_KEY.to_owned(), makes_rooms: true }))
    }

    fn nodes(self) -> usize {
        match self {
            Self::BareEach | Self::BareCoalesced => 1,
            Self::SocketIo | Self::Channels | Self::Salon => 2,
        }
    }
}

impl Backends {
    pub fn start() -> Result<Self> {
        Ok(Self { redis: Redis::start()?, postgres: Postgres::start()? })
    }

    /// The nodes of a server; `run` is a name that no other run has.
    pub fn start_nodes(&self, kind: Kind, run: &str) -> Result<Running> {
        let database = match kind {
            Kind::Salon => self.postgres.new_database(run)?,
            _ => String::new(),
        };
        let mut running = Running { kind, addresses: Vec::new(), nodes: Vec::new() };
        for _ in 0..kind.nodes() {
            let (port, folder) = (free_port()?, new_folder()?);
            let command = match kind {
                Kind::BareEach => bare(port, "each")?,
                Kind::BareCoalesced => bare(port, "coalesced")?,
                Kind::SocketIo => {
                    let mut node = Command::new("node");
                    node.env("NODE_ENV", "production").arg(install::socketio()?.join("socketio.mjs"));
                    node.arg(port.to_string()).arg(self.redis.url());
                    node
                }
                Kind::Channels => {
                    let mut uvicorn = Command::new(install::channels()?.join("bin/uvicorn"));
                    uvicorn.args(["channels_app.asgi:application", "--log-level=warning", "--host=127.0.0.1"]);
                    uvicorn.arg(format!("--port={port}")).arg(format!("--app-dir={}", install::python_path()));
                    // Saturated, it would take its own late reading of pongs for dead sockets.
                    uvicorn.arg("--ws-ping-interval=600");
                    uvicorn.env("REDIS_URL", self.redis.url()).env("PYTHONDONTWRITEBYTECODE", "1");
                    uvicorn
                }
                Kind::Salon => {
                    let file = folder.join("salon.toml");
                    let issuer =
                        format!("[[auth.issuers]]\nname = \"bench\"\nalgorithm = \"HS256\"\nkey = \"{ISSUER_KEY}\"\n");
                    std::fs::write(&file, issuer).map_err(|error| error.to_string())?;
                    let mut salon = self.salon(port, run, &database)?;
                    salon.arg("--config").arg(&file);
                    salon
                }
            };
            let node = Guarded::spawn(&command, &folder, "KILL");
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            node.wait_until(|| match kind {
                Kind::Salon => is_ready(address),
                _ => TcpStream::connect(address).is_ok(),
            })?;
            running.addresses.push(address);
            running.nodes.push(node);
        }
        Ok(running)
    }

    /// So that Postgres does not tidy up after this run during the next one. Failing, it costs a little of that.
    pub fn forget(&self, run: &str) {
        let _ = postgres::run(self.postgres.client("dropdb").args(["--force", "--if-exists", run]));
    }

    pub fn spent(&self, running: &Running) -> Spent {
        Spent {
            nodes: running.nodes.iter().map(|node| cpu::micros(node.pid())).sum(),
            redis: cpu::micros(self.redis.server.pid()),
            postgres: cpu::micros(self.postgres.server.pid()),
            own: cpu::micros(std::process::id()),
        }
    }

    /// With limits that are not what is measured.
    fn salon(&self, port: u16, run: &str, database: &str) -> Result<Command> {
        let mut salon = Command::new(env!("CARGO_BIN_EXE_salon"));
        for (name, value) in [
            ("SERVER__LISTEN", format!("127.0.0.1:{port}").as_str()),
            ("ADMIN__LISTEN", &format!("127.0.0.1:{}", free_port()?)),
            ("DATABASE__URL", database),
            ("REDIS__URL", &self.redis.url()),
            ("REDIS__PREFIX", run),
            ("AUTH__SECRET", "a secret of a comparison, on both nodes"),
            ("LIMITS__MESSAGES_PER_S", "100000"),
            ("LIMITS__MESSAGE_BURST", "100000"),
            ("LIMITS__FRAMES_PER_S", "100000"),
            ("LIMITS__REQUESTS_PER_S", "100000"),
            ("LIMITS__REQUEST_BURST", "100000"),
            ("LIMITS__SOCKETS_PER_USER", "10000"),
            ("LIMITS__SOCKETS_PER_ADDRESS", "100000"),
            ("LOG__LEVEL", "warn"),
        ] {
            salon.env(format!("SALON_{name}"), value);
        }
        Ok(salon)
    }
}

impl Running {
    /// The end of what each node printed: why a run failed may stand there.
    pub fn said(&self) -> String {
        let end = |text: String| text.lines().rev().take(10).map(|line| format!("\n    | {line}")).collect::<Vec<_>>();
        self.nodes.iter().flat_map(|node| end(node.said()).into_iter().rev()).collect()
    }

    pub fn resident_kib(&self) -> u64 {
        self.nodes.iter().map(|node| cpu::resident_kib(node.pid())).sum()
    }
}

impl Spent {
    pub fn since(self, before: Self) -> Self {
        Self {
            nodes: self.nodes - before.nodes,
            redis: self.redis - before.redis,
            postgres: self.postgres - before.postgres,
            own: self.own - before.own,
        }
    }
}

impl Redis {
    fn start() -> Result<Self> {
        let (folder, port) = (new_folder()?, free_port()?);
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        let server = Guarded::spawn(command.arg("--dir").arg(&folder), &folder, "KILL");
        server.wait_until(|| TcpStream::connect(("127.0.0.1", port)).is_ok())?;
        Ok(Self { server, port })
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

/// This program in its other role.
fn bare(port: u16, writes: &str) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().map_err(|error| error.to_string())?);
    command.args(["--serve-bare", &format!("127.0.0.1:{port}"), writes]);
    Ok(command)
}

fn is_ready(address: SocketAddr) -> bool {
    let asked = || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    };
    asked().is_ok_and(|answer| &answer == b"HTTP/1.1 200")
}

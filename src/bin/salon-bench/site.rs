//! The server that is measured: its nodes, the way there, the run's users and rooms.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;

use clap::Args;
use futures_util::{StreamExt, TryStreamExt};
use salon::engine::Result;
use salon::engine::http::{Http, authority};
use salon::engine::lean::{Lean, Route};
use salon::engine::socket::Refused;
use salon::engine::wire::Room;
use serde_json::Value;
use tokio::net::lookup_host;

use crate::process::{Named, Watch};
use crate::ui::Ui;
use crate::users::{User, Who};

/// Requests for rooms at the same time.
const ROOMS_AT_ONCE: usize = 16;
/// An address has about 28,000 ports to come from, and the server takes 10,000 sockets from one
/// (limits.sockets_per_address). So after so many sockets the next address of the loopback network is taken.
const SOCKETS_PER_SOURCE: usize = 8_000;

#[derive(Debug, Args)]
pub struct Target {
    /// A node, as http://host:port; several times for a cluster: sockets are spread over them.
    #[arg(long = "url", global = true, default_value = "http://127.0.0.1:8000", value_parser = address)]
    urls: Vec<String>,
    #[command(flatten)]
    pub who: Who,
    /// Sockets of each user; the server takes limits.sockets_per_user (20) on each node.
    #[arg(long, global = true, default_value = "1", value_name = "N")]
    sockets_per_user: NonZeroUsize,
    /// Sockets being opened at the same time.
    #[arg(long, global = true, default_value = "64", alias = "opening", value_name = "N")]
    concurrency: NonZeroUsize,
    /// Processes of the server on this machine, whose CPU time and memory are told, those of their children included:
    /// NAME=PID, or a PID alone. Several times, or with commas; equal names are added up.
    #[arg(long = "pid", global = true, value_delimiter = ',', value_parser = Named::parse, value_name = "NAME=PID")]
    pub pids: Vec<Named>,
}

/// A server with users who are ready to knock.
pub struct Site {
    nodes: Vec<Node>,
    users: Vec<User>,
    sockets_per_user: usize,
    pub concurrency: usize,
    pub watch: Watch,
}

struct Node {
    url: String,
    address: SocketAddr,
}

impl Target {
    pub fn nodes(&self) -> usize {
        self.urls.len()
    }

    /// Looks the nodes up and gets users for so many sockets.
    pub async fn site(&self, sockets: usize, ui: &Ui) -> Result<Site> {
        let mut nodes = Vec::new();
        for url in &self.urls {
            let host = authority(url);
            let mut found = lookup_host(host).await.map_err(|error| format!("{url}: {error}"))?;
            let address = found.next().ok_or_else(|| format!("{url}: no address is known"))?;
            nodes.push(Node { url: url.clone(), address });
        }
        let users = sockets.div_ceil(self.sockets_per_user.get()).max(1);
        let users = self.who.users(users, &self.urls, ui).await?;
        Ok(Site {
            nodes,
            users,
            sockets_per_user: self.sockets_per_user.get(),
            concurrency: self.concurrency.get(),
            watch: Watch::new(&self.pids),
        })
    }
}

impl Site {
    /// The run's `n`th socket; numbers over the sockets that were planned are further ones of the same users.
    pub async fn open(&self, n: usize) -> Result<Lean, Refused> {
        self.route(n).open().await
    }

    /// The `n`th socket's user, at its node.
    pub fn http(&self, n: usize) -> Http {
        self.user(n).http.at(&self.node(n).url)
    }

    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    pub fn url(&self, n: usize) -> &str {
        &self.node(n).url
    }

    pub fn users(&self) -> usize {
        self.users.len()
    }

    pub fn sockets_per_user(&self) -> usize {
        self.sockets_per_user
    }

    /// New public rooms.
    pub async fn new_rooms(&self, count: usize, ui: &Ui) -> Result<Vec<Room>> {
        ui.phase(&format!("making rooms ({count})"));
        let run = format!("{:08x}", rand::random::<u32>());
        let callers = self.callers();
        let made = (0..count).map(|n| {
            let (name, caller) = (format!("bench-{run}-{n}"), &callers[n % callers.len()]);
            async move { caller.create_room(&name, "public").await.map_err(|error| too_many_requests(&error)) }
        });
        let mut coming = futures_util::stream::iter(made).buffered(ROOMS_AT_ONCE);
        let mut rooms = Vec::with_capacity(count);
        while let Some(room) = coming.try_next().await? {
            rooms.push(room);
            ui.progress(rooms.len() as f64 / count as f64, "rooms made");
        }
        Ok(rooms)
    }

    /// The same rooms as they are now.
    pub async fn again(&self, rooms: &[Room]) -> Result<Vec<Room>> {
        let callers = self.callers();
        let asked = rooms.iter().enumerate().map(|(n, room)| {
            let caller = &callers[n % callers.len()];
            async move { caller.room(&room.slug).await.map_err(|error| too_many_requests(&error)) }
        });
        futures_util::stream::iter(asked).buffered(ROOMS_AT_ONCE).try_collect().await
    }

    fn callers(&self) -> Vec<Http> {
        (0..ROOMS_AT_ONCE).map(|n| self.users[n % self.users.len()].http.at(&self.node(n).url)).collect()
    }

    fn route(&self, n: usize) -> Route {
        let Node { url, address } = self.node(n);
        let proof = self.user(n).proof.clone();
        Route { to: *address, from: source(*address, n), authority: authority(url).to_owned(), proof }
    }

    fn user(&self, n: usize) -> &User {
        &self.users[n / self.sockets_per_user % self.users.len()]
    }

    fn node(&self, n: usize) -> &Node {
        &self.nodes[n % self.nodes.len()]
    }
}

/// Why a node did not take a socket, and what to change.
pub fn refusal(url: &str, refused: &Refused) -> String {
    let detail = serde_json::from_str::<Value>(&refused.body)
        .map_or_else(|_| refused.body.clone(), |body| crate::users::text(&body));
    let advice = match refused.status {
        401 => ": does the server know the issuer's key (--issuer-key), and what it wants as --issuer and --audience?",
        429 => {
            ": raise limits.sockets_per_user, limits.sockets_per_address or limits.requests_per_s of the server, or \
             lower --sockets-per-user"
        }
        503 => ": it is going, or limits.sockets_per_node is reached",
        0 if detail.contains("open files") => ": this shell's limit of open files is reached (ulimit -n)",
        _ => "",
    };
    format!("{url} refuses a socket: {} {detail}{advice}", refused.status)
}

fn too_many_requests(error: &str) -> String {
    let advice = if error.contains("429") { ": raise limits.requests_per_s and limits.request_burst" } else { "" };
    format!("{error}{advice}")
}

/// Only the loopback network has as many addresses as one likes.
fn source(to: SocketAddr, n: usize) -> Option<IpAddr> {
    let block = u16::try_from(n / SOCKETS_PER_SOURCE).unwrap_or(u16::MAX);
    // Neither 127.0.x.0 nor 127.0.x.255.
    let (third, fourth) = ((block / 250) as u8, (block % 250 + 1) as u8);
    let loopback = matches!(to.ip(), IpAddr::V4(ip) if ip.is_loopback());
    (loopback && block > 0).then(|| Ipv4Addr::new(127, 0, third, fourth).into())
}

fn address(text: &str) -> Result<String> {
    let rest = text.strip_prefix("http://").ok_or("it must start with http:// (TLS is left to what stands before)")?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = rest.rsplit_once(':').ok_or("the port is missing, as in http://127.0.0.1:8000")?;
    if host.is_empty() || host.contains('/') || port.parse::<u16>().is_err() {
        return Err("it must be http://host:port".to_owned());
    }
    Ok(format!("http://{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_come_from_as_many_addresses_as_they_need() {
        let to = |text: &str| text.parse::<SocketAddr>().unwrap();
        let from = |n| source(to("127.0.0.1:8000"), n).map(|ip| ip.to_string());
        assert_eq!(from(7_999), None);
        assert_eq!(from(8_000).as_deref(), Some("127.0.0.2"));
        assert_eq!(from(8_000 * 250).as_deref(), Some("127.0.1.1"));
        assert_eq!(source(to("10.0.0.1:8000"), 100_000), None);
        assert_eq!(source(to("[::1]:8000"), 100_000), None);
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        assert_eq!(address("http://127.0.0.1:80/").unwrap(), "http://127.0.0.1:80");
        for wrong in ["https://a:1", "a:1", "http://a", "http://:1", "http://a:1/ws", "http://a:70000"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }
}

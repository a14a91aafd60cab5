//! What would spoil the figures, found before anything is measured, with what to change.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use salon::engine::Result;
use serde_json::Value;
use tokio::time::{Duration, timeout};

use crate::process::{self, Named};
use crate::site::{Site, Target, refusal};
use crate::traffic::Sending;
use crate::ui::Ui;

/// Files, pipes and requests beside the sockets.
const SPARE: usize = 100;
/// In a closed loop nobody knows the rate before; a server whose limit is below this is not meant to be measured.
const MESSAGES_PER_S_MIN: u64 = 1_000;
/// What a node's program is called.
const NODE: &str = "salon";
const WELCOME: Duration = Duration::from_secs(10);

/// Raises our own limit as far as we may, and looks at those of the server's processes.
pub fn descriptors(sockets: usize, target: &Target, ui: &Ui) -> Result<()> {
    if cfg!(debug_assertions) {
        ui.warn("this salon-bench was built without optimization (cargo build --release)".to_owned());
    }
    let needed = (sockets + SPARE) as u64;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < needed) {
        let raised = Rlimit { current: maximum, maximum };
        if maximum.is_some_and(|maximum| maximum < needed) || setrlimit(Resource::Nofile, raised).is_err() {
            let may = maximum.map_or(0, |maximum| maximum);
            return Err(format!(
                "{sockets} sockets need {needed} file descriptors, and this shell may open {may}: ulimit -n {needed}"
            ));
        }
    }
    let nodes = target.nodes() as u64;
    for Named { name, pid } in &target.pids {
        // A database and Redis have few connections; a node has all the sockets that come to it.
        let (program, soft) = (process::program(*pid), process::descriptors(*pid).map(|(soft, _)| soft));
        if let Some(soft) = soft.filter(|soft| program.as_deref() == Some(NODE) && soft * nodes < needed) {
            let each = needed.div_ceil(nodes);
            ui.warn(format!("process {name} may open {soft} files: ulimit -n {each} where it is started"));
        }
    }
    Ok(())
}

/// Opens a socket to each node and reads what it says of its limits. Says early, too, when nobody is let in.
pub async fn limits(site: &Site, senders: usize, sending: Sending, chars: usize, ui: &Ui) -> Result<()> {
    for n in 0..site.nodes() {
        let limits = welcome(site, n).await?;
        let number = |key: &str| limits[key].as_u64();
        let url = site.url(n);
        let users = senders.div_ceil(site.sockets_per_user()).max(1) as f64;
        let needed = match sending {
            // A user's sends may all go through one node.
            Sending::Open { rate } => (rate / users).ceil() as u64,
            Sending::Closed { .. } => MESSAGES_PER_S_MIN,
        };
        if let Some(allowed) = number("messages_per_s").filter(|allowed| senders > 0 && *allowed < needed) {
            ui.warn(format!(
                "{url} takes {allowed} messages a second of one user: raise limits.messages_per_s (and \
                 limits.message_burst), here to {needed} or more, and limits.frames_per_s"
            ));
        }
        if let Some(allowed) = number("content_chars").filter(|allowed| *allowed < chars as u64) {
            return Err(format!(
                "{url} takes messages of {allowed} characters: raise limits.content_chars or lower --chars"
            ));
        }
    }
    Ok(())
}

async fn welcome(site: &Site, n: usize) -> Result<Value> {
    let mut socket = site.open(n).await.map_err(|refused| refusal(site.url(n), &refused))?;
    let mut limits = None;
    let told = async {
        while limits.is_none() {
            socket
                .read(|frames| {
                    for frame in frames {
                        let frame: Value = serde_json::from_slice(frame?).map_err(|error| error.to_string())?;
                        limits = limits.take().or_else(|| Some(frame["limits"].clone()));
                    }
                    Ok(())
                })
                .await?;
        }
        Ok::<_, String>(())
    };
    timeout(WELCOME, told).await.map_err(|_| format!("{}: no welcome within {WELCOME:?}", site.url(n)))??;
    Ok(limits.unwrap_or_default())
}

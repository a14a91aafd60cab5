//! A socket that costs little: thousands of them live in this one process.

use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt};
use salon::engine::Result;
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::target::{Door, Place};

/// An upgrade, or an answer while a run is being set up.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Light {
    stream: WebSocketStream<TcpStream>,
    /// Something is written and not flushed; it is before the task would wait.
    unflushed: bool,
}

impl Light {
    /// Connects and takes the `welcome`. `buffer_bytes` is what it reads at once, kept as long as it lives.
    pub async fn open(door: &Door, buffer_bytes: usize) -> Result<Self> {
        timeout(PATIENCE, Self::connect(door, buffer_bytes))
            .await
            .map_err(|_| format!("{}: no socket within {PATIENCE:?}", door.authority))?
    }

    async fn connect(door: &Door, buffer_bytes: usize) -> Result<Self> {
        let failed = |error: std::io::Error| format!("{}: {error} (many sockets? see ulimit -n)", door.authority);
        let socket = if door.address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(failed)?;
        if let Some(source) = door.source {
            socket.bind((source, 0).into()).map_err(failed)?;
        }
        let tcp = socket.connect(door.address).await.map_err(failed)?;
        tcp.set_nodelay(true).map_err(failed)?;
        let mut request =
            format!("ws://{}/ws", door.authority).into_client_request().map_err(|error| error.to_string())?;
        let proof = format!("Bearer {}", door.token).parse().map_err(|_| "the token fits no header".to_owned())?;
        request.headers_mut().insert("authorization", proof);
        let config = WebSocketConfig::default().read_buffer_size(buffer_bytes).write_buffer_size(16 << 10);
        let stream = match client_async_with_config(request, tcp, Some(config)).await {
            Ok((stream, _)) => stream,
            Err(Error::Http(answer)) => {
                let body = answer.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
                return Err(format!("{}: refused with {}: {body}", door.authority, answer.status()));
            }
            Err(error) => return Err(format!("{}: {error}", door.authority)),
        };
        let mut light = Self { stream, unflushed: false };
        light.expect("welcome").await?;
        Ok(light)
    }

    /// Joins without history; gives the `seq` after which changes come.
    pub async fn join(&mut self, room: &Place) -> Result<u64> {
        self.feed(format!(r#"{{"type":"join","room":{},"limit":0}}"#, room.id)).await?;
        let joined = self.expect("joined").await?;
        joined["seq"].as_u64().ok_or_else(|| format!("a joined without seq: {joined}"))
    }

    /// Written with whatever else is written before this socket is waited for.
    pub async fn feed(&mut self, frame: String) -> Result<()> {
        self.unflushed = true;
        self.stream.feed(Message::Text(frame.into())).await.map_err(|error| error.to_string())
    }

    /// The next text frame. Safe to drop while it waits.
    pub async fn next(&mut self) -> Result<Utf8Bytes> {
        loop {
            let next = match self.stream.next().now_or_never() {
                Some(next) => next,
                None => {
                    if self.unflushed {
                        self.stream.flush().await.map_err(|error| error.to_string())?;
                        self.unflushed = false;
                    }
                    self.stream.next().await
                }
            };
            match next {
                Some(Ok(Message::Text(text))) => return Ok(text),
                // The answer is queued by the library and leaves with the next flush.
                Some(Ok(Message::Ping(_))) => self.unflushed = true,
                Some(Ok(Message::Close(frame))) => return Err(format!("the server closed: {frame:?}")),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.to_string()),
                None => return Err("the server went without a word".into()),
            }
        }
    }

    async fn expect(&mut self, kind: &str) -> Result<Value> {
        let wanted = async {
            loop {
                let text = self.next().await?;
                let frame: Value = serde_json::from_str(&text).map_err(|error| format!("{error} in {text}"))?;
                match frame["type"].as_str() {
                    Some(found) if found == kind => return Ok(frame),
                    Some("error") => return Err(format!("waited for {kind}, got {frame}")),
                    _ => {}
                }
            }
        };
        timeout(PATIENCE, wanted).await.map_err(|_| format!("no {kind} within {PATIENCE:?}"))?
    }
}

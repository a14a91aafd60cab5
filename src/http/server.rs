//! The accept loop. Our own, since a connection here has to send its request's head in time, counts against
//! `server.connections_max` as long as it lives (a WebSocket too), and is waited for when the node goes.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use crate::config::Server;

/// Of a request's head and of what is read ahead of a body; no request of ours comes near it.
const READ_BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Out of file descriptors: until some are free again, asking at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How a server is told of its end.
#[derive(Clone, Default)]
pub struct Ending {
    /// It is near: whoever keeps a connection is to open the next one, which a load balancer leads elsewhere.
    pub near: CancellationToken,
    /// It is here.
    pub here: CancellationToken,
}

/// The connection a request came in by, for who answers without end: a peer that reads nothing more can only be cut off.
#[derive(Clone)]
pub struct Connection(CancellationToken);

impl Connection {
    /// Ends it here and now, whatever was being said.
    pub fn cut(&self) {
        self.0.cancel();
    }
}

/// A socket that holds its place among the connections until it is gone, also after an upgrade took it over.
struct Counted {
    stream: TcpStream,
    _place: OwnedSemaphorePermit,
}

/// Serves until the ending is here, then takes no further connection, lets requests under way finish (idle connections close
/// at once) and returns when all are done, at the latest `request_timeout_s` after. Upgraded sockets are not waited
/// for: who upgraded them ends them.
///
/// A machine that vanished without a word is noticed by what it does not acknowledge for `silence`; the kernel alone
/// would go on trying for a quarter of an hour. It must be longer than a reader may stall, whose closed window looks alike.
pub async fn serve(listener: TcpListener, app: Router, config: &Server, silence: Duration, ending: Ending) {
    // What is accepted inherits it.
    if let Err(error) = SockRef::from(&listener).set_tcp_user_timeout(Some(silence)) {
        tracing::warn!(%error, "clients that vanish will be noticed late");
    }
    let places = Arc::new(Semaphore::new(config.connections_max.min(Semaphore::MAX_PERMITS)));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(config.header_timeout_s))
        .max_buf_size(READ_BUFFER_BYTES_MAX);
    let connections = TaskTracker::new();
    // Whoever is left when the time is up is cut off, so that none outlives this call.
    let cut = CancellationToken::new();
    while let Some((socket, peer)) = next(&listener, &places, &ending.here).await {
        connections.spawn(connection(http.clone(), socket, peer, app.clone(), ending.clone(), cut.child_token()));
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(Duration::from_secs(config.request_timeout_s), connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "requests did not finish in time and are cut off");
        cut.cancel();
        connections.wait().await;
    }
}

/// The next connection; `None` once the node goes. Waits for a free place first, so that those who find none wait in
/// the kernel's queue and cost nothing here.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    shutdown: &CancellationToken,
) -> Option<(Counted, SocketAddr)> {
    let accepted = async {
        let place = Arc::clone(places).acquire_owned().await.expect("the semaphore is never closed");
        let mut told = false;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => return (Counted { stream, _place: place }, peer),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(%error, "cannot accept connections; trying on");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = shutdown.cancelled() => None,
        accepted = accepted => Some(accepted),
    }
}

/// It went away before we took it; the next one has nothing to do with that.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

async fn connection(
    http: http1::Builder,
    socket: Counted,
    peer: SocketAddr,
    app: Router,
    Ending { near, here }: Ending,
    cut: CancellationToken,
) {
    // Frames are small and waited for: they must not be held back to be sent together.
    if let Err(error) = socket.stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let this = Connection(cut.clone());
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (mut app, near, this) = (app.clone(), near.clone(), this.clone());
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            request.extensions_mut().insert(this);
            // A router is always ready and never fails.
            let mut response = app.call(request).await.map_err(|never: Infallible| never)?;
            if near.is_cancelled() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let mut serving = std::pin::pin!(http.serve_connection(TokioIo::new(socket), service).with_upgrades());
    let done = tokio::select! {
        done = serving.as_mut() => done,
        () = cut.cancelled() => return,
        () = here.cancelled() => {
            serving.as_mut().graceful_shutdown();
            tokio::select! {
                done = serving => done,
                () = cut.cancelled() => return,
            }
        }
    };
    // Resets, timeouts and broken heads are the other side's everyday life, no failure of ours.
    if let Err(error) = done {
        tracing::debug!(%error, "a connection ended early");
    }
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;
    use tokio::task::JoinHandle;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);
    const SILENCE: Duration = Duration::from_secs(77);

    struct Running {
        address: SocketAddr,
        ending: Ending,
        server: JoinHandle<()>,
    }

    async fn start(app: Router, config: Server) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ending = Ending::default();
        let told = ending.clone();
        let server = tokio::spawn(async move { serve(listener, app, &config, SILENCE, told).await });
        Running { address, ending, server }
    }

    async fn ask(address: SocketAddr, head: &str) -> TcpStream {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(head.as_bytes()).await.unwrap();
        socket
    }

    async fn rest(socket: &mut TcpStream) -> String {
        let mut text = Vec::new();
        tokio::time::timeout(PATIENCE, socket.read_to_end(&mut text)).await.expect("an end in time").unwrap();
        String::from_utf8(text).unwrap()
    }

    /// That a kernel ends such a connection is the kernel's to prove; that it is told to, ours.
    #[tokio::test]
    async fn what_is_accepted_has_the_time_for_who_vanishes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let told = listener.into_std().unwrap();
        let kept = TcpListener::from_std(told.try_clone().unwrap()).unwrap();
        let ending = Ending::default();
        let (config, told_to_end) = (Server::default(), ending.clone());
        let server = tokio::spawn(async move { serve(kept, Router::new(), &config, SILENCE, told_to_end).await });
        let mut first = ask(address, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        assert!(rest(&mut first).await.starts_with("HTTP/1.1 404"), "it serves");
        ending.here.cancel();
        tokio::time::timeout(PATIENCE, server).await.expect("an end in time").unwrap();
        // The same listening socket: what we accept from it now is as what it accepted.
        let _client = std::net::TcpStream::connect(address).unwrap();
        told.set_nonblocking(false).unwrap();
        let (accepted, _) = told.accept().unwrap();
        assert_eq!(SockRef::from(&accepted).tcp_user_timeout().unwrap(), Some(SILENCE));
    }

    #[tokio::test]
    async fn a_request_under_way_is_finished_and_an_idle_connection_is_not_waited_for() {
        let (entered, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (is_in, may_go) = (Arc::clone(&entered), Arc::clone(&go));
        let slow = async move || {
            is_in.notify_one();
            may_go.notified().await;
            "done"
        };
        let running = start(Router::new().route("/slow", get(slow)), Server::default()).await;
        let mut idle = ask(running.address, "").await;
        let mut busy = ask(running.address, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
        entered.notified().await;
        running.ending.here.cancel();
        assert_eq!(rest(&mut idle).await, "");
        assert!(!running.server.is_finished());
        go.notify_one();
        assert!(rest(&mut busy).await.ends_with("done"));
        tokio::time::timeout(PATIENCE, running.server).await.expect("an end in time").unwrap();
        assert!(TcpStream::connect(running.address).await.is_err());
    }

    #[tokio::test]
    async fn near_the_end_a_kept_connection_is_answered_once_more_and_closed() {
        let app = Router::new().route("/", get(async || "hello"));
        let running = start(app, Server::default()).await;
        let head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut kept = ask(running.address, head).await;
        let mut seen = [0; 12];
        kept.read_exact(&mut seen).await.unwrap();
        running.ending.near.cancel();
        kept.write_all(head.as_bytes()).await.unwrap();
        assert!(rest(&mut kept).await.to_lowercase().contains("connection: close"));
        assert!(rest(&mut ask(running.address, head).await).await.ends_with("hello"), "new ones are still served");
    }

    #[tokio::test]
    async fn who_does_not_send_a_head_in_time_is_closed() {
        let running = start(Router::new(), Server { header_timeout_s: 1, ..Server::default() }).await;
        let mut slow = ask(running.address, "GET / HTTP/1.1\r\nHost: ").await;
        rest(&mut slow).await;
        assert!(!running.server.is_finished());
    }

    #[tokio::test]
    async fn a_connection_over_the_bound_waits_for_a_place() {
        let app = Router::new().route("/", get(async || "hello"));
        let running = start(app, Server { connections_max: 1, ..Server::default() }).await;
        let head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut first = ask(running.address, head).await;
        let mut seen = [0; 8];
        first.read_exact(&mut seen).await.unwrap();
        let mut second = ask(running.address, head).await;
        let early = tokio::time::timeout(Duration::from_millis(100), second.read_exact(&mut seen)).await;
        assert!(early.is_err(), "it was served beyond the bound");
        drop(first);
        tokio::time::timeout(PATIENCE, second.read_exact(&mut seen)).await.expect("an answer in time").unwrap();
        assert_eq!(&seen, b"HTTP/1.1");
    }

    #[tokio::test]
    async fn the_peer_is_told() {
        let app = Router::new().route("/", get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string()));
        let running = start(app, Server::default()).await;
        let mut socket = ask(running.address, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        let own = socket.local_addr().unwrap().to_string();
        assert!(rest(&mut socket).await.ends_with(&own));
    }
}

//! What a socket says, frame by frame in order: a frame is taken up when the one before it is answered or on its way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::extract::ws::{Message, WebSocket};
use futures_util::StreamExt;
use futures_util::stream::SplitStream;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::error::{Error, Result};
use crate::failpoints::{self, Point};
use crate::http::auth::{By, identify};
use crate::model::{Content, RoomId, RoomRef, Timestamp};
use crate::node::{Close, Draft, Node, Proof, Session, Told};
use crate::protocol::frames::ServerFrame;
use crate::protocol::incoming::{ClientFrame, Echo, Incoming, JoinRequest, JoinWish, parse};
use crate::store::ChangeWhat;

/// The fifth frame that is not a JSON object ends the socket.
const NONSENSE_MAX: u32 = 5;
/// What the other side is given to close its half, once it was told of the close.
const LINGER: Duration = Duration::from_secs(2);
/// Rooms of one `join` that are entered at the same time.
const JOINS_AT_ONCE: usize = 16;

struct Reader<'a> {
    node: &'a Arc<Node>,
    session: &'a Arc<Session>,
    /// The room of `/ws/chat/{room}/`.
    implicit: Option<RoomId>,
    /// Sends under way: further frames wait in the socket.
    appends: Arc<Semaphore>,
    nonsense: u32,
    frames: Flood,
}

/// Counts frames in one-second windows; a socket far over the bound is no client of ours.
struct Flood {
    since: Instant,
    frames: u32,
}

/// Reads until the socket ends; gives the close code to be counted. After it asked the session to close it waits for
/// the writer, which says the code.
pub async fn read(
    node: &Arc<Node>,
    session: &Arc<Session>,
    stream: &mut SplitStream<WebSocket>,
    opening: Option<JoinWish>,
    heard: &AtomicBool,
) -> u16 {
    let mut reader = Reader {
        node,
        session,
        implicit: None,
        appends: Arc::new(Semaphore::new(node.config.node.appends_per_socket)),
        nonsense: 0,
        frames: Flood { since: Instant::now(), frames: 0 },
    };
    if let Some(wish) = opening {
        if let RoomRef::Id(id) = wish.room {
            reader.implicit = Some(id);
        }
        if let Err(error) = node.join(session, &wish, &Echo::default()).await {
            session.refuse(&Echo::default(), &error);
        }
    }
    loop {
        session.answerable().await;
        let Some(message) = stream.next().await else { return 1006 };
        heard.store(true, Ordering::Relaxed);
        let close = match message {
            Ok(Message::Text(_)) if node.is_deaf() || session.is_closing() => None,
            Ok(Message::Text(text)) => reader.text(text.as_str()).await,
            Ok(Message::Binary(_)) => Some(Close::NotTheProtocol),
            Ok(Message::Ping(_) | Message::Pong(_)) => reader.count(),
            Ok(Message::Close(frame)) => {
                // The stream answers the close by itself when it is read once more.
                let code = frame.map_or(1005, |frame| frame.code);
                while stream.next().await.is_some() {}
                return code;
            }
            Err(error) => match refused_size(&error) {
                true => Some(Close::TooLarge),
                false => return 1006,
            },
        };
        if let Some(close) = close {
            session.close(close);
            std::future::pending::<()>().await;
        }
    }
}

/// Reads on without listening until the other side is gone, for a while: a connection that is closed with something
/// unread is reset, and what was written last, the close with its code, may be lost with it.
pub async fn linger(stream: &mut SplitStream<WebSocket>) {
    let gone = async { while let Some(Ok(_)) = stream.next().await {} };
    tokio::time::timeout(LINGER, gone).await.ok();
}

impl Reader<'_> {
    async fn text(&mut self, text: &str) -> Option<Close> {
        if let Some(close) = self.count() {
            return Some(close);
        }
        failpoints::reach(Point::Frame, |wanted| text.contains(wanted)).await;
        match parse(text, self.implicit, self.node.config.limits.rooms_per_socket) {
            Ok(Incoming { echo, frame }) => {
                let done = match frame {
                    Ok(frame) => self.handle(frame, &echo).await,
                    Err(error) => Err(error),
                };
                if let Err(error) = done {
                    self.session.refuse(&echo, &error);
                }
                None
            }
            Err(error) => {
                self.nonsense += 1;
                self.session.refuse(&Echo::default(), &error);
                (self.nonsense >= NONSENSE_MAX).then_some(Close::NotTheProtocol)
            }
        }
    }

    async fn handle(&mut self, frame: ClientFrame, echo: &Echo) -> Result<()> {
        let (node, session) = (self.node, self.session);
        match frame {
            ClientFrame::Join(rooms) => self.join(rooms).await,
            ClientFrame::Leave { room } => node.leave(session, &room, echo).await?,
            ClientFrame::Send { room, content, nonce, reply_to } => {
                let draft = Draft { content, nonce, reply_to };
                let done = self.answer(echo, Kind::Send).await;
                node.submit_send(&session.user, &room, &draft, done).await?;
            }
            ClientFrame::Edit { room, id, content } => {
                let content = Content::parse(&content, node.config.limits.content_chars)?;
                let done = self.answer(echo, Kind::Change).await;
                node.submit_change(&session.user, &room, id, ChangeWhat::Edit(content), done).await?;
            }
            ClientFrame::Delete { room, id } => {
                let done = self.answer(echo, Kind::Change).await;
                node.submit_change(&session.user, &room, id, ChangeWhat::Delete, done).await?;
            }
            ClientFrame::Typing { room } => node.typing(&session.user, &room).await?,
            ClientFrame::Auth { token } => self.extend(&token, echo).await?,
            ClientFrame::Ping => session.answer(&ServerFrame::Pong { reference: echo.reference.as_ref() }),
        }
        Ok(())
    }

    /// Many rooms are asked for together, so that their checks go in few queries; not all at once, so that their
    /// answers stay within a bound.
    async fn join(&self, rooms: Vec<JoinRequest>) {
        let joins = futures_util::stream::iter(rooms).for_each_concurrent(JOINS_AT_ONCE, |request| async move {
            self.session.answerable().await;
            let done = match request.wish {
                Ok(wish) => self.node.join(self.session, &wish, &request.echo).await,
                Err(error) => Err(error),
            };
            if let Err(error) = done {
                self.session.refuse(&request.echo, &error);
            }
        });
        joins.await;
    }

    async fn extend(&self, token: &str, echo: &Echo) -> Result<()> {
        let caller = identify(self.node, token, By::Bearer).await?;
        if caller.user.id != self.session.user.id {
            return Err(Error::Forbidden("this token is somebody else's".into()));
        }
        let (reference, expires_at) = (echo.reference.as_ref(), caller.expires_at);
        // A socket opened by cookie needs no extension: it has no end of its own.
        if self.session.expires_at() != i64::MAX {
            let (login_session, issued_at) = (caller.login_session, caller.issued_at.map(Timestamp::seconds));
            let proof = Proof { login_session, issued_at, expires_at: Some(expires_at.seconds()) };
            let session = proof.login_session.clone();
            self.session.extend(proof);
            // Looked at again now that it would be found and closed, as when a socket comes to stand.
            if self.node.is_revoked(caller.user.id, session.as_deref(), issued_at) {
                self.session.close(Close::SessionEnded);
                return Err(Error::login_ended());
            }
        }
        self.session.answer(&ServerFrame::Authenticated { reference, expires_at });
        Ok(())
    }

    /// What will be said when the store has answered; taken out of the socket's share of appends until then.
    async fn answer(&self, echo: &Echo, kind: Kind) -> Box<dyn FnOnce(Result<Told>) + Send> {
        let permit = self.appends.clone().acquire_owned().await;
        let (session, echo) = (self.session.clone(), echo.clone());
        Box::new(move |outcome| {
            match outcome {
                Ok(told) => acknowledge(&session, echo.reference.as_ref(), &told, kind),
                Err(error) => session.refuse(&echo, &error),
            }
            drop(permit);
        })
    }

    fn count(&mut self) -> Option<Close> {
        self.frames.over(self.node.config.limits.frames_per_s).then_some(Close::Flood)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Send,
    Change,
}

fn acknowledge(session: &Session, reference: Option<&Value>, told: &Told, kind: Kind) {
    let message = &told.message;
    let sent = kind == Kind::Send;
    session.answer(&ServerFrame::Ack {
        reference,
        room: &told.slug,
        nonce: message.nonce.as_deref().filter(|_| sent),
        id: message.id,
        // A send is acknowledged under the place it took, also when the message was changed since.
        seq: if sent { message.id } else { message.seq },
        created_at: sent.then_some(message.created_at),
        duplicate: sent.then_some(told.unchanged),
    });
}

impl Flood {
    fn over(&mut self, frames_per_s: u32) -> bool {
        if self.since.elapsed().as_secs() >= 1 {
            *self = Self { since: Instant::now(), frames: 0 };
        }
        self.frames += 1;
        self.frames > frames_per_s
    }
}

/// Whether the stream ended because a frame was over the bound.
fn refused_size(error: &axum::Error) -> bool {
    use tokio_tungstenite::tungstenite::Error as Tungstenite;
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(Tungstenite::Capacity(_)) = error.downcast_ref::<Tungstenite>() {
            return true;
        }
        source = error.source();
    }
    false
}

//! Points at which a test may hold or slow a node: between two steps that nothing else can part in time.
//!
//! Without the feature `failpoints`, which no release has, a point is nothing. With it the environment variable
//! `FAILPOINTS` says at the start what happens at which: `after-commit=return(hold:TEXT);hub=return(200:TEXT)` holds for
//! ever whatever has TEXT in it after its commit, and what reaches the hub with it for 200 ms; `return(panic:TEXT)` lets
//! the task panic. So a test chooses the moment by what it sends, and no other traffic is touched. Only the task that is
//! there waits, never its thread.

/// Where a node can be held, and what TEXT is looked for in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// A frame of a socket was read: the frame.
    Frame,
    /// A batch of sends is about to go to the store: the contents.
    BeforeCommit,
    /// It is stored, and nobody was told: the contents.
    AfterCommit,
    /// A room's subscription stands, its head is not read yet: the slug.
    BeforeHead,
    /// Its head is read, and its gate not opened yet: the slug.
    AfterHead,
    /// A hint was read from the broker's connection: the payload.
    Hint,
    /// A change heard from another node is about to go to its room: the frame.
    Hub,
}

/// Waits if the test wants it so. `touches` is asked whether the wanted text is in what is being done.
#[cfg(feature = "failpoints")]
pub async fn reach(point: Point, touches: impl FnOnce(&str) -> bool) {
    let Some(order) = order(point.name()) else { return };
    let Some((how, text)) = order.split_once(':') else { return };
    if !touches(text) {
        return;
    }
    tracing::warn!(point = point.name(), how, "held by a test");
    assert_ne!(how, "panic", "a test wants it");
    match how.parse() {
        Ok(millis) => tokio::time::sleep(std::time::Duration::from_millis(millis)).await,
        Err(_) => std::future::pending().await,
    }
}

#[cfg(not(feature = "failpoints"))]
pub fn reach(_: Point, _: impl FnOnce(&str) -> bool) -> std::future::Ready<()> {
    std::future::ready(())
}

/// Whether these bytes have that text in them.
pub fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len().max(1)).any(|window| window == text.as_bytes())
}

/// Reads `FAILPOINTS`; in force as long as the value lives.
#[cfg(feature = "failpoints")]
pub fn setup() -> fail::FailScenario<'static> {
    fail::FailScenario::setup()
}

#[cfg(feature = "failpoints")]
fn order(name: &str) -> Option<String> {
    fail::fail_point!(name, |order| order);
    None
}

#[cfg(feature = "failpoints")]
impl Point {
    fn name(self) -> &'static str {
        match self {
            Self::Frame => "frame",
            Self::BeforeCommit => "before-commit",
            Self::AfterCommit => "after-commit",
            Self::BeforeHead => "before-head",
            Self::AfterHead => "after-head",
            Self::Hint => "hint",
            Self::Hub => "hub",
        }
    }
}

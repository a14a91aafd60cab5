//! A long room: readers page back through all of it, and sockets resume from behind.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use clap::Args;
use salon::engine::Result;
use tokio::time::{sleep, timeout};

use crate::heard::Heard;
use crate::lane::{Plan, Traffic};
use crate::lanes::{Lanes, micros};
use crate::latency::Latencies;
use crate::preflight;
use crate::report::Report;
use crate::scan::{self, Message};
use crate::seconds::{Counter, Meter, Until};
use crate::site::{Site, Target, refusal};
use crate::traffic::{Sending, settle, stored};
use crate::ui::Ui;

/// The room is filled by so many, each with so many in flight.
const FILLERS: usize = 4;
const FILLING_IN_FLIGHT: usize = 64;
/// Largest page of history a server gives.
const PAGE: usize = 200;
/// A resume of more changes is answered by a `reset`.
const RESUME_MAX: u64 = 500;
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub struct History {
    /// How long the room is.
    #[arg(long, default_value = "20000", value_name = "N")]
    messages: NonZeroUsize,
    /// Readers at the same time, each a user of its own.
    #[arg(long, default_value = "8", value_name = "N")]
    readers: NonZeroUsize,
    /// From how far behind to resume; several times or with commas. Over 500 the server answers with a reset.
    #[arg(long, default_values_t = [100, 450], value_delimiter = ',', value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    behind: Vec<u64>,
    /// Length of each message in characters.
    #[arg(long, default_value = "100", value_name = "N")]
    chars: NonZeroUsize,
    /// Seconds for each way to read.
    #[arg(long, default_value = "10", value_name = "S", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
}

/// What all readers share.
struct Reading {
    site: Arc<Site>,
    slug: String,
    room: i64,
    epoch: String,
    head: u64,
    /// Sum of the marks of all messages.
    sum: u64,
    /// Requests and joins that were answered, and messages in them.
    answers: AtomicU64,
    messages: AtomicU64,
    took: Arc<Latencies>,
    going: AtomicBool,
}

/// One way to read.
#[derive(Clone, Copy)]
enum Way {
    Pages,
    Resume { behind: u64 },
}

impl History {
    pub async fn run(&self, target: &Target, ui: &Arc<Ui>) -> Result<Report> {
        let readers = self.readers.get();
        let sending = Sending::Closed { in_flight: FILLING_IN_FLIGHT };
        preflight::descriptors(2 * readers + FILLERS, target, ui)?;
        let site = Arc::new(target.site(readers.max(FILLERS), ui).await?);
        preflight::limits(&site, FILLERS, sending, self.chars.get(), ui).await?;
        let title = format!("history: {readers} readers of a room of {} messages", self.messages);
        let mut report = Report::new("history", title);
        let traffic = self.fill(&site, ui).await?;
        stored(&mut report, &traffic, &site).await?;
        let head = traffic.heads[0].load(Relaxed);
        report.figure("messages", "messages in the room", head as f64, "");
        let ways = self.behind.iter().map(|behind| Way::Resume { behind: (*behind).min(head) });
        let mut at_s = 0.0;
        for way in [Way::Pages].into_iter().chain(ways) {
            at_s = self.measure(way, &site, &traffic, &mut report, at_s, ui).await?;
        }
        Ok(report)
    }

    async fn fill(&self, site: &Site, ui: &Arc<Ui>) -> Result<Arc<Traffic>> {
        let plans = [Plan { room: 0, joins: false, sends: true }; FILLERS];
        let traffic = Arc::new(Traffic::new(site.new_rooms(1, ui).await?, &plans, self.chars.get()));
        let (mut lanes, unmeasured) = (Lanes::new(), Latencies::new());
        let every: Vec<(usize, usize)> = (0..FILLERS).map(|n| (n, n)).collect();
        lanes.open(site, &traffic, &every, ui, [&unmeasured, &unmeasured]).await?;
        ui.phase(&format!("filling a room with {} messages", self.messages));
        Sending::Closed { in_flight: FILLING_IN_FLIGHT }.start(&traffic)?;
        let wanted = self.messages.get() as u64;
        let filled = async {
            while traffic.sent() < wanted {
                ui.progress(traffic.sent() as f64 / wanted as f64, "messages");
                sleep(Duration::from_millis(10)).await;
            }
        };
        lanes.unbroken(filled).await?;
        traffic.sending.store(false, Relaxed);
        if let Some(what) = settle(&mut lanes, &traffic).await? {
            return Err(what);
        }
        lanes.cut().await;
        Ok(traffic)
    }

    /// Lets all read that way for a while; gives the time on the report's axis then.
    async fn measure(
        &self,
        way: Way,
        site: &Arc<Site>,
        traffic: &Traffic,
        report: &mut Report,
        at_s: f64,
        ui: &Arc<Ui>,
    ) -> Result<f64> {
        let (key, label) = way.names();
        ui.phase(&format!("{label}, for {} s", self.seconds));
        let room = &traffic.rooms[0];
        let reading = Arc::new(Reading {
            site: Arc::clone(site),
            slug: room.slug.clone(),
            room: room.id,
            epoch: room.epoch.clone(),
            head: traffic.heads[0].load(Relaxed),
            sum: traffic.sums[0].load(Relaxed),
            answers: 0.into(),
            messages: 0.into(),
            took: Arc::new(Latencies::always()),
            going: true.into(),
        });
        let (began, before) = (Instant::now(), site.watch.look());
        let meter = reading.meter(self.seconds).start(ui);
        let mut readers = Lanes::new();
        for n in 0..self.readers.get() {
            let reading = Arc::clone(&reading);
            readers.spawn(async move { reading.read(n, way).await.map_err(|why| format!("reader {n}: {why}")) });
        }
        let done = readers.unbroken(sleep(Duration::from_secs(self.seconds))).await;
        reading.going.store(false, Relaxed);
        match done {
            Ok(()) => readers.finished().await,
            Err(why) => Err(why),
        }
        .unwrap_or_else(|why| report.violations.push(why));
        let (elapsed, usage) = (began.elapsed().as_secs_f64(), site.watch.look().since(&before));
        let (answers, messages) = (reading.answers.load(Relaxed), reading.messages.load(Relaxed));
        report.figure(format!("{key}_per_s"), label.clone(), answers as f64 / elapsed, "a second");
        report.figure(format!("{key}_messages_per_s"), "  messages in them", messages as f64 / elapsed, "messages/s");
        if !site.watch.is_empty() {
            let each = usage.cpu().as_secs_f64() * 1e6 / answers.max(1) as f64;
            report.figure(format!("cpu_us_per_{key}"), "  server CPU for each", each, "µs");
        }
        let each = usage.own.cpu.as_secs_f64() * 1e6 / answers.max(1) as f64;
        report.figure(format!("own_cpu_us_per_{key}"), "  salon-bench's own CPU for each", each, "µs");
        report.latency(key, label, reading.took.whole());
        let seconds = meter.stop().await;
        report.seconds.extend(seconds.into_iter().map(|mut second| {
            second.at_s += at_s;
            second
        }));
        Ok(at_s + elapsed)
    }
}

impl Way {
    fn names(self) -> (String, String) {
        match self {
            Self::Pages => ("page".to_owned(), format!("pages of {PAGE}, backwards")),
            Self::Resume { behind } => (format!("resume_{behind}"), format!("resumes from {behind} behind")),
        }
    }
}

impl Reading {
    fn meter(self: &Arc<Self>, seconds: u64) -> Meter {
        let (answers, messages) = (Arc::clone(self), Arc::clone(self));
        let counter = |key, label, count| Counter { key, label, count };
        Meter {
            counters: vec![
                counter("answers", "answers", Box::new(move || answers.answers.load(Relaxed)) as Box<_>),
                counter("messages", "messages", Box::new(move || messages.messages.load(Relaxed)) as Box<_>),
            ],
            latencies: Arc::clone(&self.took),
            watch: self.site.watch.clone(),
            until: Until::Seconds(seconds),
        }
    }

    async fn read(&self, n: usize, way: Way) -> Result<()> {
        match way {
            Way::Pages => self.page_back(n).await,
            Way::Resume { behind } => self.resume(n, behind).await,
        }
    }

    /// From the newest message to the first, again and again. Each page must end where the one before began.
    async fn page_back(&self, n: usize) -> Result<()> {
        let http = self.site.http(n);
        while self.going.load(Relaxed) {
            let (mut below, mut sum) = (self.head + 1, 0_u64);
            while below > 1 && self.going.load(Relaxed) {
                let began = Instant::now();
                let path = format!("/api/rooms/{}/messages?before={below}&limit={PAGE}", self.slug);
                let answer = http.get(&path).await?;
                if answer.status != 200 {
                    let advice = if answer.status == 429 { " (raise limits.requests_per_s of the server)" } else { "" };
                    return Err(format!("{path}: {}{advice}", answer.status));
                }
                let page = scan::page(&answer.body)?;
                self.count(n, began, page.len());
                let wanted = below.saturating_sub(PAGE as u64).max(1)..below;
                if !page.iter().map(|message| message.id).eq(wanted.clone()) {
                    let ids: Vec<u64> = page.iter().map(|message| message.id).collect();
                    return Err(format!("the page before {below} holds {ids:?}, not {wanted:?}"));
                }
                sum = page.iter().fold(sum, |sum, message| sum.wrapping_add(message.name.mark(message.seq)));
                below = wanted.start;
            }
            if below == 1 && sum != self.sum {
                return Err("history holds other messages than were acknowledged".to_owned());
            }
        }
        Ok(())
    }

    /// Joins again and again on one socket, from that far behind.
    async fn resume(&self, n: usize, behind: u64) -> Result<()> {
        let socket = self.site.open(n).await.map_err(|refused| refusal(self.site.url(n), &refused));
        let mut socket = socket?;
        let after = self.head - behind;
        let Self { room, epoch, .. } = self;
        let ask = format!(r#"{{"type":"join","room":{room},"after":{after},"epoch":"{epoch}"}}"#);
        while self.going.load(Relaxed) {
            let began = Instant::now();
            socket.out().send(ask.as_bytes())?;
            let (mut heard, mut told) = (None, 0);
            let answered = async {
                while heard.as_ref().is_none_or(|heard: &Heard| heard.last() < self.head) {
                    socket
                        .read(|frames| {
                            for frame in frames {
                                told += resumed(frame?, after, behind, &mut heard)?;
                            }
                            Ok(())
                        })
                        .await?;
                }
                Ok::<_, String>(())
            };
            timeout(PATIENCE, answered).await.map_err(|_| format!("no answer within {PATIENCE:?}"))??;
            self.count(n, began, told);
            let wrong = heard.map_or(0, |heard| heard.lost(self.head) + heard.duplicated + heard.reordered);
            if wrong > 0 {
                return Err(format!("a resume from {after} was wrong in {wrong} places"));
            }
        }
        Ok(())
    }

    fn count(&self, n: usize, began: Instant, messages: usize) {
        self.took.recorder(n).record(0, micros(began.elapsed()));
        self.answers.fetch_add(1, Relaxed);
        self.messages.fetch_add(messages as u64, Relaxed);
    }
}

/// Takes one frame of the answer to a resume; how many messages it held.
fn resumed(frame: &[u8], after: u64, behind: u64, heard: &mut Option<Heard>) -> Result<usize> {
    let messages: Vec<Message> = match scan::kind(frame)?.as_ref() {
        "joined" => {
            let joined = scan::joined(frame)?;
            if joined.reset != (behind > RESUME_MAX) {
                return Err(format!("a resume from {behind} behind was answered with reset: {}", joined.reset));
            }
            let messages = joined.messages()?;
            // A reset gives the newest page: from there on nothing may be missing.
            let from = if joined.reset { messages.first().map_or(joined.seq, |first| first.seq - 1) } else { after };
            *heard = Some(Heard::after(from));
            messages
        }
        "chat_message" => vec![scan::message(frame)?],
        "error" => return Err(scan::wrong("refused", frame)),
        _ => return Ok(0),
    };
    let Some(heard) = heard else { return Err("a message before the answer to the join".to_owned()) };
    messages.iter().try_for_each(|message| heard.hear(*message))?;
    Ok(messages.len())
}

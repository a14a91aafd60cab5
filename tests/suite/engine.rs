//! The engine itself: against a small chat server in memory that answers as the contract says, with losses that a
//! client must ride out, the judgement is green; for each lie that server is told to tell, it is red.

mod model;

use std::time::Duration;

use salon::engine::checker::Rule;
use salon::engine::workload::{Finished, Mix, Pace, Plan, Stop};

use model::{Lie, Model};

async fn run(lie: Option<Lie>) -> (Model, Finished) {
    let model = Model::start(lie).await;
    let plan = Plan {
        nodes: vec![model.url()],
        clients: 6,
        rooms: 2,
        stop: Stop::After(80),
        pace: Pace::InFlight(4),
        mix: Mix { edit: 0.2, delete: 0.1, leave: 0.03, cut: 0.02 },
        backoff_max: Duration::from_millis(100),
        ..Plan::default()
    };
    let quiet = Duration::from_secs(if lie.is_some() { 3 } else { 20 });
    let mut running = plan.start().await.expect("the workload starts");
    running.driven().await.expect("the workload ends");
    let finished = running.finish(quiet).await.expect("quiet");
    (model, finished)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_server_is_green_through_losses() {
    let (_model, finished) = run(None).await;
    assert!(finished.report.is_green(), "{}", finished.report);
    let counts = &finished.report.counts;
    assert!(counts.sends_acked > 150 && counts.changes_acked > 20, "{counts:?}");
    assert!(counts.resumes > 5 && counts.duplicates > 0 && counts.connections > 12, "{counts:?}");
    let timings = finished.timings();
    assert!(timings.ack.len() > 200 && timings.delivery.len() > 500, "{}", timings.delivery.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_lie_is_seen() {
    let lies = [
        (Lie::LosesLiveFrames, Rule::Gap),
        (Lie::TellsTwice, Rule::Backwards),
        (Lie::ForgetsAcknowledged, Rule::AckedLost),
        (Lie::IgnoresNonces, Rule::NonceTwice),
        (Lie::StoresRefused, Rule::RefusedStored),
        (Lie::HidesOnResume, Rule::PageHole),
        (Lie::SkipsSeqs, Rule::Hole),
        (Lie::TellsSomeOtherText, Rule::Disagree),
    ];
    let runs = lies.map(|(lie, rule)| async move { (lie, rule, run(Some(lie)).await.1) });
    for (lie, rule, finished) in futures_util::future::join_all(runs).await {
        assert!(finished.report.breaks(rule), "{lie:?} was not seen as {rule:?}: {}", finished.report);
    }
}

//! Hints of one node are lost, late, or too many for it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::trial::{HEALED, NOTICED, READER, THIRD, THROUGH_DATABASE, Trial, WRITER, joined};
use crate::support::cluster::Cluster;
use crate::support::measure::SLACK;
use crate::support::proxy::Way;

/// What makes one node unready must have lasted so long, and is told soon after.
pub const UNREADY_AFTER: Duration = Duration::from_secs(10);
pub const UNREADY_WITHIN: Duration = Duration::from_secs(16);

fn proxied() -> crate::support::cluster::Builder {
    Cluster::of(3).redis_proxied(READER)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_hint_is_lost_and_nothing_follows() {
    let mut trial = Trial::start("tail hint dropped with silence after", proxied()).await;
    let watch = trial.watch();
    trial.cluster.redis_proxy(READER).swallow("lost on the way");
    for content in ["lost on the way 1", "lost on the way 2"] {
        let sent = Instant::now();
        trial.say(content).await;
        let healed = trial.hears(content, HEALED * SLACK).await;
        trial.measured("healed", sent.elapsed(), HEALED);
        assert_eq!(healed["from"], Value::Null, "nothing before it is missing: {healed}");
    }
    assert!(trial.cluster.redis_proxy(READER).swallowed() >= 2, "no hint was lost, so nothing was tested");
    let repairs = trial.cluster.nodes[READER].metric("salon_beacon_repairs_total").await;
    assert!(repairs >= 2.0, "an operator can see it: {repairs}");
    watch.always_well(&[READER, WRITER, THIRD]);
    trial.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_is_told_what_the_hints_have_not_told() {
    let mut trial = Trial::start("hint dropped, then a join without a cursor", proxied()).await;
    trial.cluster.redis_proxy(READER).swallow("acknowledged elsewhere");
    let mut newcomer = joined(&trial.cluster, READER, &trial.people[1], &trial.room).await;
    for round in 0..5 {
        let content = format!("acknowledged elsewhere {round}");
        trial.say(&content).await;
        let asked = Instant::now();
        let told = newcomer.join(&trial.room).await.expect("an answer");
        let last = told["messages"].as_array().and_then(|messages| messages.last()).expect("messages");
        assert_eq!(last["content"], json!(content), "{told}");
        trial.measured("joined and told", asked.elapsed(), THROUGH_DATABASE);
        trial.hears(&content, HEALED * SLACK).await;
    }
    assert!(trial.cluster.redis_proxy(READER).swallowed() >= 5, "no hint was lost, so nothing was tested");
    trial.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hints_of_one_node_come_200_ms_late() {
    let mut trial = Trial::start("hints of one node delayed 200 ms", proxied()).await;
    let watch = trial.watch();
    let late = Duration::from_millis(200);
    trial.cluster.redis_proxy(READER).delay(Way::ToClient, late, Duration::from_millis(50));
    // What is late is known to be when a probe that was sent since has come that way; the next may be under way already.
    let probes = "salon_broker_lag_seconds_count";
    let heard = trial.cluster.nodes[READER].metric(probes).await;
    trial.until_metric(READER, probes, |now| now >= heard + 2.0, NOTICED * SLACK).await;
    let before = trial.cluster.nodes[READER].metric("salon_beacon_repairs_total").await;
    for round in 0..15 {
        let sent = Instant::now();
        trial.say(&format!("late {round}")).await;
        trial.hears(&format!("late {round}"), HEALED * SLACK).await;
        if round % 5 == 0 {
            trial.measured("delivered across nodes", sent.elapsed(), THROUGH_DATABASE);
        }
        sleep(Duration::from_millis(200)).await;
    }
    let repairs = trial.cluster.nodes[READER].metric("salon_beacon_repairs_total").await - before;
    trial.counted("repairs of what was only late", repairs, 0);
    trial.cluster.redis_proxy(READER).pass();
    watch.always_well(&[READER, WRITER, THIRD]);
    trial.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_comes_from_redis_any_more() {
    let mut trial = Trial::start("Redis-to-node direction blackholed", proxied()).await;
    let watch = trial.watch();
    let began = Instant::now();
    trial.cluster.redis_proxy(READER).blackhole(Way::ToClient);
    trial.across("unnoticed", "delivered to the deaf node before it knows", NOTICED + THROUGH_DATABASE).await;
    trial.until_metric(READER, "salon_broker_up", |up| up == 0.0, NOTICED * SLACK).await;
    trial.measured("noticed", began.elapsed(), NOTICED);
    trial.across("noticed", "delivered to the deaf node by the database", THROUGH_DATABASE).await;
    trial.until_readiness(READER, 503, &["broker"], UNREADY_WITHIN * SLACK).await;
    unready_in_time(&trial, began);
    trial.cluster.redis_proxy(READER).pass();
    ready_again(&trial).await;
    watch.always_well(&[WRITER, THIRD]);
    trial.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_is_cut_off_from_redis() {
    let mut trial = Trial::start("node cut off from Redis only", proxied()).await;
    let watch = trial.watch();
    let began = Instant::now();
    trial.cluster.redis_proxy(READER).refuse();
    trial.across("cut off", "delivered to the node that is cut off", NOTICED + THROUGH_DATABASE).await;
    // The other way too: what is said on that node reaches the others.
    let mut other = joined(&trial.cluster, THIRD, &trial.people[1], &trial.room).await;
    let sent = Instant::now();
    let frame = json!({"type": "send", "room": trial.room, "content": "from inside"});
    assert_eq!(trial.reader.ask(frame).await.expect("an ack")["type"], "ack");
    let told = other.expect_where("from inside", HEALED * SLACK, |frame| frame["content"] == "from inside").await;
    told.expect("told");
    trial.measured("delivered from the node that is cut off", sent.elapsed(), HEALED);
    trial.was_said("from inside");
    trial.until_readiness(READER, 503, &["broker"], UNREADY_WITHIN * SLACK).await;
    unready_in_time(&trial, began);
    trial.works().await;
    trial.cluster.redis_proxy(READER).pass();
    ready_again(&trial).await;
    watch.always_well(&[WRITER, THIRD]);
    trial.end().await;
}

#[track_caller]
pub fn unready_in_time(trial: &Trial, began: Instant) {
    let took = began.elapsed();
    assert!(took >= UNREADY_AFTER, "unready after {took:?} already: the balancer must not be sent about by a moment");
    trial.measured("that node alone is unready", took, UNREADY_WITHIN);
}

pub async fn ready_again(trial: &Trial) {
    let took = trial.until_readiness(READER, 200, &[], NOTICED * SLACK).await;
    trial.measured("ready again", took, NOTICED);
}

//! A Prometheus, asked.

use std::time::{Duration, Instant};

use salon::engine::http::{Http, escape};
use serde_json::Value;
use tokio::time::sleep;

pub struct Prometheus(Http);

impl Prometheus {
    pub fn new(url: &str) -> Self {
        Self(Http::new(url))
    }

    /// What the API says to this path.
    pub async fn ask(&self, path: &str) -> Value {
        let answer = self.0.get(path).await.unwrap_or_else(|error| panic!("{path}: {error}"));
        let told = answer.json();
        assert_eq!(told["status"], "success", "{path}: {told}");
        told["data"].clone()
    }

    /// The series that a query finds now.
    pub async fn query(&self, query: &str) -> Vec<Value> {
        let found = self.ask(&format!("/api/v1/query?query={}", escape(query))).await;
        found["result"].as_array().expect("a result").clone()
    }

    /// Waits until a query finds something: rates need two scrapes.
    pub async fn finds(&self, query: &str, within: Duration) -> Vec<Value> {
        let deadline = Instant::now() + within;
        loop {
            let found = self.query(query).await;
            if !found.is_empty() {
                return found;
            }
            assert!(Instant::now() < deadline, "nothing is found after {within:?} by {query}");
            sleep(Duration::from_millis(200)).await;
        }
    }
}

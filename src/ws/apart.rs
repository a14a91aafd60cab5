//! A future that is polled when it was woken itself, and not when another one of its task was: a socket whose writer
//! is woken for each delivery would else look for something to read each time.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// A future with a waker of its own.
pub struct Apart<F> {
    future: F,
    flag: Arc<Flag>,
    waker: Waker,
}

struct Flag {
    woken: AtomicBool,
    task: AtomicWaker,
}

impl<F: Future + Unpin> Apart<F> {
    pub fn new(future: F) -> Self {
        let flag = Arc::new(Flag { woken: AtomicBool::new(true), task: AtomicWaker::new() });
        Self { future, waker: Waker::from(flag.clone()), flag }
    }
}

impl<F: Future + Unpin> Future for Apart<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // Registered before the look: a wake between the two would else be lost.
        self.flag.task.register(context.waker());
        if !self.flag.woken.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let Self { future, waker, .. } = &mut *self;
        Pin::new(future).poll(&mut Context::from_waker(waker))
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use futures_util::FutureExt;
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn it_is_polled_when_it_was_woken_and_not_with_its_neighbour() {
        let (polls, mine, others) = (AtomicUsize::new(0), Notify::new(), Notify::new());
        let waiting = Box::pin(async {
            let mut notified = std::pin::pin!(mine.notified());
            std::future::poll_fn(|context| {
                polls.fetch_add(1, Ordering::Relaxed);
                notified.as_mut().poll(context)
            })
            .await;
        });
        let mut apart = Apart::new(waiting);
        for _ in 0..3 {
            others.notify_one();
            tokio::select! {
                biased;
                () = &mut apart => panic!("nobody woke it"),
                () = others.notified() => {}
            }
        }
        assert_eq!(polls.load(Ordering::Relaxed), 1, "only the first time");
        mine.notify_one();
        apart.await;
        assert_eq!(polls.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn who_wakes_itself_while_it_is_polled_is_polled_again() {
        let mut left = 3;
        let busy = std::future::poll_fn(move |context| {
            left -= 1;
            if left == 0 {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        });
        let ended = tokio::time::timeout(std::time::Duration::from_secs(10), Apart::new(Box::pin(busy)).map(|()| true));
        assert_eq!(ended.await, Ok(true));
    }
}

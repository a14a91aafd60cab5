use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::resp::whole_replies;
use super::*;

#[test]
fn only_whole_published_replies_with_the_pattern_are_left_out() {
    let lost = AtomicUsize::new(0);
    let hint = b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$6\r\nabcdef\r\n";
    let push = b">3\r\n$8\r\nsmessage\r\n$1\r\nc\r\n$6\r\nabcdef\r\n";
    let other = b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nxy\r\n+OK\r\n$-1\r\n:5\r\n$3\r\ncde\r\n";
    let mut waiting = [hint.as_slice(), other, push, &hint[..20]].concat();
    assert_eq!(whole_replies(&mut waiting, Some(b"cde"), &lost), other);
    assert_eq!(lost.load(Ordering::SeqCst), 2);
    assert_eq!(waiting, &hint[..20]);
    assert_eq!(whole_replies(&mut hint.to_vec(), None, &lost), hint);
}

/// A proxy before a server that says everything back.
async fn echo() -> (Proxy, JoinHandle<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.into_split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    (Proxy::plain(&target).await, server)
}

async fn connected(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

/// What comes back of one byte; `None`: nothing within a moment.
async fn ask(stream: &mut TcpStream, byte: u8) -> Option<std::io::Result<u8>> {
    if let Err(error) = stream.write_u8(byte).await {
        return Some(Err(error));
    }
    tokio::time::timeout(Duration::from_millis(300), stream.read_u8()).await.ok()
}

async fn passes(stream: &mut TcpStream, byte: u8) {
    assert_eq!(ask(stream, byte).await.expect("an answer").expect("no error"), byte);
}

/// All that comes until the connection ends.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut bytes)).await;
    read.expect("it is cut in time").ok();
    bytes
}

#[tokio::test]
async fn what_is_lost_is_lost_in_one_direction_and_the_connection_stays() {
    let (proxy, _server) = echo().await;
    let mut stream = connected(&proxy).await;
    passes(&mut stream, 1).await;
    for way in [Way::ToServer, Way::ToClient] {
        proxy.blackhole(way);
        assert!(ask(&mut stream, 2).await.is_none(), "{way:?}");
        assert!(ask(&mut connected(&proxy).await, 2).await.is_none(), "{way:?}");
        proxy.pass();
        passes(&mut stream, 3).await;
        proxy.freeze(way);
        assert!(ask(&mut stream, 4).await.is_none(), "{way:?}");
        passes(&mut connected(&proxy).await, 4).await;
        proxy.pass();
        passes(&mut stream, 5).await;
    }
}

#[tokio::test]
async fn connections_break_and_are_refused() {
    let (proxy, _server) = echo().await;
    let mut stream = connected(&proxy).await;
    passes(&mut stream, 1).await;
    proxy.cut();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0, "closed in order");
    let mut stream = connected(&proxy).await;
    passes(&mut stream, 2).await;
    proxy.reset();
    let error = stream.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    proxy.refuse();
    assert!(ask(&mut connected(&proxy).await, 3).await.unwrap().is_err());
    proxy.pass();
    passes(&mut connected(&proxy).await, 4).await;
}

#[tokio::test]
async fn a_delay_holds_each_byte_and_not_the_next() {
    let (proxy, _server) = echo().await;
    let mut stream = connected(&proxy).await;
    passes(&mut stream, 1).await;
    let least = Duration::from_millis(100);
    for way in [Way::ToServer, Way::ToClient] {
        proxy.delay(way, least, Duration::from_millis(20));
        let began = Instant::now();
        for byte in 0..20 {
            stream.write_u8(byte).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for byte in 0..20 {
            assert_eq!(stream.read_u8().await.unwrap(), byte, "the order stays");
        }
        let took = began.elapsed();
        assert!(took >= least && took < 10 * least, "{way:?}: {took:?}");
        proxy.pass();
    }
}

#[tokio::test]
async fn a_rate_is_kept() {
    let (proxy, _server) = echo().await;
    let mut stream = connected(&proxy).await;
    proxy.rate(Way::ToClient, 100_000);
    let began = Instant::now();
    stream.write_all(&[7; 50_000]).await.unwrap();
    stream.read_exact(&mut [0; 50_000]).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(450), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_cut_behind_some_bytes_comes_once_and_exactly_there() {
    let (proxy, _server) = echo().await;
    for way in [Way::ToServer, Way::ToClient] {
        let mut stream = connected(&proxy).await;
        passes(&mut stream, 1).await;
        proxy.cut_after(way, 3);
        stream.write_all(b"abcdef").await.unwrap();
        let told = rest(&mut stream).await;
        // What the server had no time to say back is lost as well.
        assert!(b"abc".starts_with(&told) && (way == Way::ToServer || told == b"abc"), "{way:?}: {told:?}");
        passes(&mut connected(&proxy).await, 2).await;
    }
    assert_eq!(proxy.fired(), 2);
}

#[tokio::test]
async fn a_cut_at_a_pattern_comes_once_also_when_it_comes_in_parts() {
    let (proxy, _server) = echo().await;
    let mut stream = connected(&proxy).await;
    proxy.cut_at(Way::ToClient, "COMMIT");
    stream.write_all(b"one COM").await.unwrap();
    let mut start = [0; 7];
    stream.read_exact(&mut start).await.unwrap();
    stream.write_all(b"MIT and more").await.unwrap();
    assert_eq!(rest(&mut stream).await, b"MIT");
    let mut stream = connected(&proxy).await;
    stream.write_all(b"COMMIT.").await.unwrap();
    stream.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"COMMIT.", "once only");
    proxy.cut_at(Way::ToServer, "COMMIT");
    stream.write_all(b"COMMIT").await.unwrap();
    rest(&mut stream).await;
    assert_eq!(proxy.fired(), 2);
}

#[tokio::test]
async fn an_answer_is_lost_after_its_question_arrived() {
    let (proxy, _server) = echo().await;
    let mut stream = connected(&proxy).await;
    passes(&mut stream, 1).await;
    proxy.cut_at_answer("COMMIT");
    stream.write_all(b"COMMIT").await.unwrap();
    assert_eq!(rest(&mut stream).await, b"");
    assert_eq!(proxy.fired(), 1);
    passes(&mut connected(&proxy).await, 2).await;
}

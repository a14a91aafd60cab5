//! A relay between a program and a node that meddles once with what each WebSocket is told.

use std::io::Result;

use salon::engine::http::authority;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What happens to a socket's tenth message.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    Loses,
    Doubles,
    /// It comes after the eleventh.
    Swaps,
    /// In its place, at its seq, stands another message of the same sender.
    Mistakes,
}

const TENTH: u32 = 10;

pub struct Meddler {
    url: String,
    task: JoinHandle<()>,
}

impl Meddler {
    pub async fn start(behind: String, fault: Fault) -> Meddler {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let task = tokio::spawn(async move {
            while let Ok((program, _)) = listener.accept().await {
                let node = TcpStream::connect(authority(&behind)).await.expect("the node answers");
                let ((mut from_program, to_program), (from_node, mut to_node)) =
                    (program.into_split(), node.into_split());
                // Either side's end is the other's too; which error came first says nothing.
                tokio::spawn(async move { copy(&mut from_program, &mut to_node).await });
                tokio::spawn(tell(from_node, to_program, fault));
            }
        });
        Meddler { url, task }
    }

    pub fn url(&self) -> String {
        self.url.clone()
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Passes on what the node says: plain HTTP as it is, a socket frame by frame.
async fn tell(node: OwnedReadHalf, mut program: OwnedWriteHalf, fault: Fault) -> Result<()> {
    let mut node = BufReader::new(node);
    let mut line = String::new();
    node.read_line(&mut line).await?;
    program.write_all(line.as_bytes()).await?;
    if !line.contains(" 101 ") {
        copy(&mut node, &mut program).await?;
        return Ok(());
    }
    while line != "\r\n" {
        line.clear();
        node.read_line(&mut line).await?;
        program.write_all(line.as_bytes()).await?;
    }
    let mut messages = 0;
    let mut held = Vec::new();
    loop {
        let mut frame = frame(&mut node).await?;
        let is_message = frame.windows(14).any(|part| part == b"\"chat_message\"");
        messages += u32::from(is_message);
        match fault {
            Fault::Loses if is_message && messages == TENTH => {}
            Fault::Doubles if is_message && messages == TENTH => program.write_all(&frame.repeat(2)).await?,
            Fault::Swaps if is_message && messages == TENTH => held = frame,
            Fault::Mistakes if is_message && messages == TENTH => {
                rename(&mut frame);
                program.write_all(&frame).await?;
            }
            _ => {
                program.write_all(&frame).await?;
                if is_message {
                    program.write_all(&std::mem::take(&mut held)).await?;
                }
            }
        }
    }
}

/// Makes the message the one before or after it: the last digit of the number in its nonce, `lane.number.time`.
fn rename(frame: &mut [u8]) {
    let nonce = frame.windows(9).position(|part| part == b"\"nonce\":\"").expect("a nonce") + 9;
    let dots: Vec<usize> = (nonce..frame.len()).filter(|at| frame[*at] == b'.').take(2).collect();
    frame[dots[1] - 1] ^= 1;
}

/// One frame as it stands: two bytes, perhaps a longer length, the payload (a server does not mask it).
async fn frame(node: &mut BufReader<OwnedReadHalf>) -> Result<Vec<u8>> {
    let mut frame = vec![0; 2];
    node.read_exact(&mut frame).await?;
    let length = match frame[1] {
        126 => {
            let length = node.read_u16().await?;
            frame.extend(length.to_be_bytes());
            u64::from(length)
        }
        127 => {
            let length = node.read_u64().await?;
            frame.extend(length.to_be_bytes());
            length
        }
        length => u64::from(length),
    };
    node.take(length).read_to_end(&mut frame).await?;
    Ok(frame)
}

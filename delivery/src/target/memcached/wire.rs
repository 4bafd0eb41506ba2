//! The text protocol: one command, one line back.

use std::io;
use std::pin::pin;

use bytes::Buf;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::AWAY;
use super::item::{Item, Op};
use crate::message::ErrorClass;
use crate::target::secrets::excerpt;

/// No server says more on one line.
const MAX_LINE_BYTES: usize = 2_048;
/// Bytes of it that a failure tells.
const MAX_TOLD_BYTES: usize = 200;

/// What the server has said.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// Its line, without its end.
    pub(super) line: String,
    /// Whether the command was written whole, and nothing follows the line: then the connection may be used
    /// again.
    pub(super) is_whole: bool,
}

/// Says what is to be done with an item, and reads what the server says to that. A server may refuse a value while
/// it is on its way still, and close the connection.
pub(super) async fn exchange(stream: &mut TcpStream, item: &Item) -> io::Result<Said> {
    let (mut from, mut to) = stream.split();
    let mut reading = pin!(read_line(&mut from));
    let written = tokio::select! {
        biased;
        said = &mut reading => return said.map(|said| Said { is_whole: false, ..said }),
        written = write(&mut to, item) => written,
    };
    match (reading.await, written) {
        (Ok(said), Ok(())) => Ok(said),
        (Ok(said), Err(_)) => Ok(Said { is_whole: false, ..said }),
        (Err(_), Err(error)) | (Err(error), Ok(())) => Err(error),
    }
}

async fn write(to: &mut WriteHalf<'_>, item: &Item) -> io::Result<()> {
    let command = item.command();
    match &item.op {
        Op::Delete => to.write_all(&command).await,
        Op::Set { value, .. } => {
            let end = Buf::chain(value.as_ref(), &b"\r\n"[..]);
            let mut all = Buf::chain(&command[..], end);
            to.write_all_buf(&mut all).await
        }
    }
}

async fn read_line(from: &mut ReadHalf<'_>) -> io::Result<Said> {
    let mut read = Vec::with_capacity(64);
    loop {
        if let Some(end) = read.windows(2).position(|two| two == b"\r\n") {
            let line = String::from_utf8_lossy(&read[..end]).into_owned();
            return Ok(Said { line, is_whole: end + 2 == read.len() });
        }
        if read.len() > MAX_LINE_BYTES {
            let what = format!("what came is no answer: {}", excerpt_of(&read));
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        if from.read_buf(&mut read).await? == 0 {
            let (kind, what) = match read.is_empty() {
                true => (io::ErrorKind::UnexpectedEof, "it closed the connection".to_owned()),
                false => {
                    let what = format!("it closed the connection behind: {}", excerpt_of(&read));
                    (io::ErrorKind::InvalidData, what)
                }
            };
            return Err(io::Error::new(kind, what));
        }
    }
}

fn excerpt_of(read: &[u8]) -> String {
    excerpt(&String::from_utf8_lossy(read), MAX_TOLD_BYTES)
}

/// Whether that is done which was asked for; or in which way it is not.
pub(super) fn judge(line: &str, op: &Op) -> Result<(), ErrorClass> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    match (op, word) {
        (Op::Set { .. }, "STORED") | (Op::Delete, "DELETED" | "NOT_FOUND") => Ok(()),
        (_, "SERVER_ERROR") if rest.starts_with("out of memory") => Err(AWAY),
        (_, "SERVER_ERROR") if rest.starts_with("object too large") => Err(ErrorClass::Permanent),
        (_, "ERROR") => Err(AWAY),
        // Where one must log in, it takes whatever is set first for the login.
        (_, "CLIENT_ERROR") if rest.contains("authenticat") => Err(AWAY),
        (_, "CLIENT_ERROR") => Err(ErrorClass::Permanent),
        _ => Err(ErrorClass::Transient),
    }
}

/// What a failure tells of a line.
pub(super) fn told(address: &str, line: &str) -> String {
    format!("{address} said {:?}", excerpt(line, MAX_TOLD_BYTES))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn every_answer_means_what_the_table_says() {
        let set = Op::Set { value: Bytes::new(), ttl_s: 0 };
        let (permanent, transient) = (ErrorClass::Permanent, ErrorClass::Transient);
        for (line, of_set, of_delete) in [
            ("STORED", Ok(()), Err(transient)),
            ("DELETED", Err(transient), Ok(())),
            ("NOT_FOUND", Err(transient), Ok(())),
            ("NOT_STORED", Err(transient), Err(transient)),
            ("EXISTS", Err(transient), Err(transient)),
            ("SERVER_ERROR out of memory storing object", Err(AWAY), Err(AWAY)),
            ("SERVER_ERROR object too large for cache", Err(permanent), Err(permanent)),
            ("SERVER_ERROR Host is down", Err(transient), Err(transient)),
            ("ERROR", Err(AWAY), Err(AWAY)),
            ("ERROR Too many open connections", Err(AWAY), Err(AWAY)),
            ("CLIENT_ERROR unauthenticated", Err(AWAY), Err(AWAY)),
            ("CLIENT_ERROR bad authentication token format", Err(AWAY), Err(AWAY)),
            ("CLIENT_ERROR bad data chunk", Err(permanent), Err(permanent)),
            ("STOREDX", Err(transient), Err(transient)),
            ("HTTP/1.1 400 Bad Request", Err(transient), Err(transient)),
            ("", Err(transient), Err(transient)),
        ] {
            assert_eq!(judge(line, &set), of_set, "{line:?} to a set");
            assert_eq!(judge(line, &Op::Delete), of_delete, "{line:?} to a delete");
        }
    }
}

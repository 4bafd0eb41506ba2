//! Just enough of three protocols to ask a server whether it serves.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, ensure};

/// How long a server may take for one answer before it counts as not ready.
const PATIENCE: Duration = Duration::from_secs(5);
/// More than any answer to what is asked here.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// A connection with a deadline on every read and write.
pub(crate) fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)
        .with_context(|| format!("{address} does not accept connections"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Sends bytes and reads exactly as many as asked for.
pub(crate) fn send(stream: &mut TcpStream, bytes: &[u8]) -> anyhow::Result<()> {
    stream.write_all(bytes).context("it hung up")
}

/// The next `count` bytes.
pub(crate) fn receive(stream: &mut TcpStream, count: usize) -> anyhow::Result<Vec<u8>> {
    ensure!(count <= MAX_ANSWER_BYTES, "an answer of {count} bytes");
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).context("it did not answer in full")?;
    Ok(bytes)
}

/// Reads big-endian fields off a received message.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn take(&mut self, count: usize) -> anyhow::Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).context("an answer that is cut off")?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn u16(&mut self) -> anyhow::Result<u16> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    pub(crate) fn i32(&mut self) -> anyhow::Result<i32> {
        let bytes = self.take(4)?;
        Ok(i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }
}

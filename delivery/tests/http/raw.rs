//! Servers that do what no HTTP library does, and one that puts TLS before another server.

use std::future::Future;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

/// Who signed the certificate of [`tls_before`].
pub(crate) const AUTHORITY: &str = include_str!("tls/authority.pem");

/// A server that does this with each connection, until the process ends.
pub(crate) async fn serve<F, W>(with: F) -> SocketAddr
where
    F: Fn(TcpStream) -> W + Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(with(stream));
        }
    });
    address
}

/// Reads a request, head and body; whether there was a whole one.
pub(crate) async fn read_request(stream: &mut TcpStream) -> bool {
    let mut bytes = Vec::new();
    loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..at]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |it| it.parse().expect("a number"));
            if bytes.len() >= at + 4 + length {
                return true;
            }
        }
        match stream.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => return false,
            Ok(_) => {}
        }
    }
}

/// An address where nobody listens.
pub(crate) async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    listener.local_addr().expect("it is bound")
}

/// Speaks TLS, offers these protocols, and passes on to a server that speaks none.
pub(crate) fn tls_before(server: SocketAddr, protocols: &[&str]) -> SocketAddr {
    let chain = CertificateDer::pem_slice_iter(include_bytes!("tls/server.pem"));
    let chain = chain.collect::<Result<_, _>>().expect("certificates");
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server.key")).expect("a key");
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_no_client_auth();
    let mut config = config.with_single_cert(chain, key).expect("they belong together");
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let config = Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (Ok(client), config) = (client, Arc::clone(&config)) else { return };
            // That one side goes is how a connection ends.
            std::thread::spawn(move || drop(pass_on(client, server, config)));
        }
    });
    address
}

fn pass_on(
    mut client: std::net::TcpStream,
    server: SocketAddr,
    config: Arc<ServerConfig>,
) -> io::Result<()> {
    let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
    tls.complete_io(&mut client)?;
    let mut server = std::net::TcpStream::connect(server)?;
    client.set_nonblocking(true)?;
    server.set_nonblocking(true)?;
    let mut buffer = vec![0; 16 << 10];
    let mut to_server: Vec<u8> = Vec::new();
    loop {
        let mut idle = true;
        let mut moved = |count: io::Result<usize>| match count {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                idle = false;
                Ok(count)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error),
        };
        while tls.wants_write() && moved(tls.write_tls(&mut client))? > 0 {}
        if to_server.is_empty() {
            if tls.wants_read() && moved(tls.read_tls(&mut client))? > 0 {
                tls.process_new_packets().map_err(io::Error::other)?;
            }
            let count = moved(tls.reader().read(&mut buffer))?;
            to_server.extend_from_slice(&buffer[..count]);
        } else {
            let count = moved(server.write(&to_server))?;
            to_server.drain(..count);
        }
        if !tls.wants_write() {
            let count = moved(server.read(&mut buffer))?;
            tls.writer().write_all(&buffer[..count])?;
        }
        if idle {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

//! The bytes of a session: TCP with keepalives, or a socket of this host. Its shutdown waits for the
//! server to close its side: PostgreSQL leaves that to the end of its process, so that whoever waits for
//! it knows that the server no longer counts this session.

use super::url::Keepalive;
use nix::sys::socket::{setsockopt, sockopt};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A connected stream.
pub(crate) struct Stream {
    line: Line,
    /// Our side is shut.
    shut: bool,
}

enum Line {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Connects to an address, or to a socket's path.
    pub async fn connect(
        to: Result<SocketAddr, &Path>,
        keepalive: Option<Keepalive>,
        user_timeout: Option<Duration>,
    ) -> io::Result<Self> {
        let line = match to {
            Err(path) => Line::Unix(UnixStream::connect(path).await.map_err(|error| named(&error, path.display()))?),
            Ok(address) => {
                let stream = TcpStream::connect(address).await.map_err(|error| named(&error, address))?;
                stream.set_nodelay(true)?;
                if let Some(keepalive) = keepalive {
                    setsockopt(&stream, sockopt::KeepAlive, &true)?;
                    setsockopt(&stream, sockopt::TcpKeepIdle, &keepalive.idle)?;
                    setsockopt(&stream, sockopt::TcpKeepInterval, &keepalive.interval)?;
                    setsockopt(&stream, sockopt::TcpKeepCount, &keepalive.count)?;
                }
                if let Some(limit) = user_timeout {
                    let limit = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
                    setsockopt(&stream, sockopt::TcpUserTimeout, &limit)?;
                }
                Line::Tcp(stream)
            }
        };
        Ok(Self { line, shut: false })
    }
}

fn named(error: &io::Error, what: impl std::fmt::Display) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

macro_rules! line {
    ($stream:expr, $line:ident => $call:expr) => {
        match &mut $stream.line {
            Line::Tcp($line) => $call,
            Line::Unix($line) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        line!(self, line => Pin::new(line).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        line!(self, line => Pin::new(line).poll_write(cx, buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        line!(self, line => Pin::new(line).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shut {
            ready!(line!(self, line => Pin::new(line).poll_shutdown(cx)))?;
            self.shut = true;
        }
        loop {
            let mut scratch = [0; 512];
            let mut scratch = ReadBuf::new(&mut scratch);
            match ready!(line!(self, line => Pin::new(line).poll_read(cx, &mut scratch))) {
                Ok(()) if !scratch.filled().is_empty() => {}
                // an end or an error: either way the other side is gone
                _ => return Poll::Ready(Ok(())),
            }
        }
    }
}

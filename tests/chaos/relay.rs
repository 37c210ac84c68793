//! The relay itself: what it is told to do to a connection happens to it, at once and no longer.

use crate::support::relay::{Relay, Way};
use crate::support::silent::RefusingPort;
use crate::support::wait::{eventually, millis, secs};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

/// A server that answers every byte with the same, and tells what it heard.
fn echo() -> (u16, Receiver<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, heard) = channel();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let tell = tell.clone();
            std::thread::spawn(move || {
                let mut byte = [0];
                while let Ok(1) = stream.read(&mut byte) {
                    if tell.send(byte[0]).is_err() || stream.write_all(&byte).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (port, heard)
}

fn connect(relay: &Relay) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", relay.port())).unwrap();
    stream.set_read_timeout(Some(secs(5))).unwrap();
    stream
}

fn hear(stream: &mut TcpStream) -> std::io::Result<u8> {
    let mut byte = [0];
    stream.read_exact(&mut byte).map(|()| byte[0])
}

fn hears_nothing(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(millis(200))).unwrap();
    let silence = hear(stream).unwrap_err().kind();
    assert!(matches!(silence, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{silence}");
    stream.set_read_timeout(Some(secs(5))).unwrap();
}

#[test]
fn it_passes_counts_and_tells_of_the_end() {
    let (port, _heard) = echo();
    let relay = Relay::start(port);
    let mut stream = connect(&relay);
    stream.write_all(b"abc").unwrap();
    let mut answer = [0; 3];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!((&answer, relay.accepted(), relay.open()), (b"abc", 1, 1));
    eventually(secs(5), "it has counted", || relay.bytes() == (3, 3));
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(hear(&mut stream).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    eventually(secs(5), "the connection is gone", || relay.open() == 0);
    // Large things arrive whole.
    let mut large = connect(&relay);
    let mut writer = large.try_clone().unwrap();
    let thread = std::thread::spawn(move || writer.write_all(&vec![7; 1 << 19]).unwrap());
    let mut back = vec![0; 1 << 19];
    large.read_exact(&mut back).unwrap();
    thread.join().unwrap();
    assert!(back.iter().all(|byte| *byte == 7));
}

#[test]
fn a_cut_resets_and_refuses_until_healed() {
    let (port, _heard) = echo();
    let relay = Relay::start(port);
    let (mut first, mut second) = (connect(&relay), connect(&relay));
    for stream in [&mut first, &mut second] {
        stream.write_all(b"a").unwrap();
        hear(stream).unwrap();
    }
    relay.go(Way::Cut);
    for stream in [&mut first, &mut second] {
        assert_eq!(hear(stream).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
    for _ in 0..2 {
        let refused = TcpStream::connect(("127.0.0.1", relay.port())).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        relay.go(Way::Cut);
    }
    relay.heal();
    let mut third = connect(&relay);
    third.write_all(b"b").unwrap();
    assert_eq!(hear(&mut third).unwrap(), b'b');
    relay.reset();
    assert_eq!(hear(&mut third).unwrap_err().kind(), ErrorKind::ConnectionReset);
    let mut fourth = connect(&relay);
    fourth.write_all(b"c").unwrap();
    assert_eq!(hear(&mut fourth).unwrap(), b'c');
    relay.close();
    assert_eq!(hear(&mut fourth).unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn a_hang_accepts_and_delivers_only_when_healed_also_for_one_who_has_gone() {
    let (port, heard) = echo();
    let relay = Relay::start(port);
    relay.go(Way::Hangs);
    let mut stays = connect(&relay);
    stays.write_all(b"s").unwrap();
    connect(&relay).write_all(b"g").unwrap();
    hears_nothing(&mut stays);
    assert!(heard.try_recv().is_err() && relay.bytes() == (0, 0));
    relay.heal();
    assert_eq!(hear(&mut stays).unwrap(), b's');
    let mut both = [heard.recv_timeout(secs(5)).unwrap(), heard.recv_timeout(secs(5)).unwrap()];
    both.sort_unstable();
    assert_eq!(&both, b"gs");
    eventually(secs(5), "only one is left", || relay.open() == 1);
}

#[test]
fn held_answers_come_late_although_what_was_asked_was_done() {
    let (port, heard) = echo();
    let relay = Relay::start(port);
    let mut stream = connect(&relay);
    relay.go(Way::HoldsAnswers);
    stream.write_all(b"x").unwrap();
    assert_eq!(heard.recv_timeout(secs(5)).unwrap(), b'x');
    hears_nothing(&mut stream);
    relay.heal();
    assert_eq!(hear(&mut stream).unwrap(), b'x');
    relay.go(Way::HoldsAnswers);
    stream.write_all(b"y").unwrap();
    assert_eq!(heard.recv_timeout(secs(5)).unwrap(), b'y');
    relay.go(Way::Cut);
    assert_eq!(hear(&mut stream).unwrap_err().kind(), ErrorKind::ConnectionReset, "the answer was lost");
}

#[test]
fn a_delay_delays_each_way() {
    let (port, _heard) = echo();
    let relay = Relay::start(port);
    relay.go(Way::Delays(millis(150)));
    let mut stream = connect(&relay);
    let begun = Instant::now();
    stream.write_all(b"x").unwrap();
    hear(&mut stream).unwrap();
    let took = begun.elapsed();
    assert!(took >= millis(300) && took < secs(3), "{took:?}");
}

#[test]
fn a_server_that_refuses_is_seen_as_one() {
    let refusing = RefusingPort::take();
    let relay = Relay::start(refusing.port());
    assert!(hear(&mut connect(&relay)).is_err());
    relay.go(Way::Hangs);
    let mut hanging = connect(&relay);
    hears_nothing(&mut hanging);
    relay.heal();
    assert!(hear(&mut hanging).is_err());
}

#[test]
fn it_may_fall_silent_in_the_middle_of_a_word() {
    let (port, heard) = echo();
    let relay = Relay::start(port);
    let mut stream = connect(&relay);
    relay.go(Way::HangsAfter(2));
    stream.write_all(b"abc").unwrap();
    assert_eq!([heard.recv_timeout(secs(5)).unwrap(), heard.recv_timeout(secs(5)).unwrap()], *b"ab");
    assert!(heard.recv_timeout(millis(200)).is_err());
    relay.heal();
    let mut answer = [0; 3];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"abc");
}

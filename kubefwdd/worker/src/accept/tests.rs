//! Accepting from several listeners.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener as StdListener};

use super::*;

fn listen() -> (OwnedFd, SocketAddr) {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener.into(), address)
}

#[tokio::test]
async fn connections_carry_the_owner_of_their_listener() {
    let (acceptor, mut accepted) = start::<&'static str>().unwrap();
    let (web, web_address) = listen();
    let (db, db_address) = listen();
    acceptor.add(1, web, "web").unwrap();
    acceptor.add(2, db, "db").unwrap();
    for (address, wanted) in [(db_address, "db"), (web_address, "web"), (db_address, "db")] {
        let client = TcpStream::connect(address).unwrap();
        let (owner, stream) = accepted.recv().await.unwrap();
        assert_eq!(owner, wanted);
        assert_eq!(stream.peer_addr().unwrap(), client.local_addr().unwrap());
    }
}

#[tokio::test]
async fn a_full_queue_leaves_connections_in_the_backlog_and_loses_none() {
    let (acceptor, mut accepted) = start::<()>().unwrap();
    let (listener, address) = listen();
    acceptor.add(1, listener, ()).unwrap();
    let count = QUEUE + 100;
    let clients: Vec<_> = (0..count)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    let mut seen = BTreeSet::new();
    for _ in 0..count {
        let (_, stream) = accepted.recv().await.unwrap();
        seen.insert(stream.peer_addr().unwrap());
    }
    let all: BTreeSet<_> = clients.iter().map(|c| c.local_addr().unwrap()).collect();
    assert_eq!(seen, all);
}

#[tokio::test]
async fn what_was_removed_is_not_accepted_from() {
    let (acceptor, mut accepted) = start::<u8>().unwrap();
    let (first, first_address) = listen();
    // The daemon keeps the socket open, so that the port does not refuse.
    let _kept = first.try_clone().unwrap();
    let (second, second_address) = listen();
    acceptor.add(1, first, 1).unwrap();
    acceptor.add(2, second, 2).unwrap();
    acceptor.remove(1);
    let _ignored = TcpStream::connect(first_address).unwrap();
    let _taken = TcpStream::connect(second_address).unwrap();
    assert_eq!(accepted.recv().await.unwrap().0, 2);
}

#[tokio::test]
async fn the_queue_ends_with_the_acceptor() {
    let (acceptor, mut accepted) = start::<()>().unwrap();
    drop(acceptor);
    assert!(accepted.recv().await.is_none());
}

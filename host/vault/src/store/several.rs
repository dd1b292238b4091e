//! Several stores at once. Each takes what it can: one that fails holds none of the others up.

use std::io;
use std::sync::Arc;

use futures_util::future::{join, join_all};
use tokio::sync::mpsc::{self, Sender};

use super::content::{AHEAD, Content, Piece};
use super::error::Result;
use super::name::Name;
use super::{Object, Store};

/// Stores `content` under `name` in all of `stores`; gives what came of it in each, in their order. A run is
/// done only if it was stored in all of them.
///
/// What is in memory or in a file is read by each store for itself, and again where that helps. A pipe is read
/// once, as fast as the slowest store that has not failed.
pub async fn put_all(stores: &[Arc<dyn Store>], name: &Name, content: Content) -> Vec<Result<Object>> {
    if let Some(copies) = stores.iter().map(|_| content.copy()).collect::<Option<Vec<_>>>() {
        return join_all(stores.iter().zip(copies).map(|(store, copy)| store.put(name, copy))).await;
    }
    let length = content.length();
    let (ends, copies): (Vec<_>, Vec<_>) = stores.iter().map(|_| mpsc::channel(AHEAD)).unzip();
    let copies = copies.into_iter().map(|from| Content::from_pieces(from, length));
    let puts = join_all(stores.iter().zip(copies).map(|(store, copy)| store.put(name, copy)));
    join(puts, share(content, ends)).await.0
}

/// Gives what `content` gives to all `ends` that take it.
async fn share(mut content: Content, mut ends: Vec<Sender<Piece>>) {
    // With nobody left, the content is dropped, and its writer told.
    while !ends.is_empty() {
        let next = content.next().await;
        let ended = !matches!(next, Ok(Some(_)));
        let sent = join_all(ends.iter().map(|end| {
            end.send(match &next {
                Ok(Some(piece)) => Piece::Data(piece.clone()),
                Ok(None) => Piece::End,
                Err(error) => Piece::Broken(io::Error::new(error.kind(), error.to_string())),
            })
        }))
        .await;
        if ended {
            return;
        }
        let mut sent = sent.into_iter();
        ends.retain(|_| sent.next().is_some_and(|sent| sent.is_ok()));
    }
}

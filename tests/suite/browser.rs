//! The page, in real browsers before real nodes, used as people use it. Each state worth looking at is left as a picture
//! in `target/screenshots`.

mod access;
mod account;
mod chatting;
mod history;
mod losing;
mod person;
mod rooms;
mod safety;
mod states;

//! A store with people and rooms in it.

use std::sync::Arc;

use salon::config::Database;
use salon::model::{RoomId, RoomKind, RoomName, SiteRole, Slug, Topic, UserId, Username};
use salon::store::{Credential, NewRoom, NewUser, Store, open};

use super::Result;

pub struct Bed {
    pub store: Arc<dyn Store>,
    pub users: Vec<UserId>,
    pub rooms: Vec<RoomId>,
}

impl Bed {
    /// In a new, empty database. All rooms are public.
    pub async fn new(url: &str, users: usize, rooms: usize) -> Result<Self> {
        let made = async {
            let store = open(&Database { url: url.to_owned(), ..Database::default() })?;
            store.migrate().await?;
            let mut bed = Self { store, users: Vec::new(), rooms: Vec::new() };
            for n in 0..users {
                let credential = Credential::Issuer { issuer: "bench".to_owned(), subject: n.to_string() };
                let username = Username::parse(&format!("bench-{n}"))?;
                let user = bed.store.create_user(NewUser { username, credential, role: SiteRole::User }).await?;
                bed.users.push(user.id);
            }
            for n in 0..rooms {
                let (slug, name) = (Slug::parse(&format!("room-{n}"))?, RoomName::parse(&format!("room-{n}"))?);
                let owner = bed.users[n % users];
                let new = NewRoom { slug, name, topic: Topic::parse("")?, kind: RoomKind::Public, owner };
                bed.rooms.push(bed.store.create_room(new).await?.id);
            }
            Ok(bed)
        };
        made.await.map_err(|error: salon::error::Error| error.to_string())
    }
}

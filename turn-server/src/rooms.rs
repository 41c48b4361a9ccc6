//! The rooms of a running server, for the program that embeds it. Over HTTP the same is in `api`.

use std::sync::Arc;

use signalling::RoomName;
use signalling::code::{Code, Refusal};
use signalling::token::Claims;

use crate::app::App;
use crate::signalling::directory::NewRoom;

/// A handle; cheap to clone.
#[derive(Clone)]
pub struct Rooms(pub(crate) Arc<App>);

impl Rooms {
    /// Makes a room as configured, which stays until it is closed.
    ///
    /// # Errors
    /// [`Code::BadRequest`] when there is one of that name, or why there can be none.
    pub fn open(&self, name: &RoomName) -> Result<(), Refusal> {
        let mut directory = self.0.hub.directory();
        if directory.rooms.contains_key(name) {
            return Err(Refusal::new(Code::BadRequest, format!("there is a room {name} already")));
        }
        let new = NewRoom { permanent: true, ..NewRoom::by_joining(&self.0.config()) };
        self.0.hub.open(&mut directory, name, new).map(drop)
    }

    /// Ends a room and puts everybody out; `false`: there was none.
    pub fn close(&self, name: &RoomName) -> bool {
        self.0.hub.close(&mut self.0.hub.directory(), name)
    }

    /// The rooms that there are, with their visible participants.
    pub fn list(&self) -> Vec<(RoomName, usize)> {
        self.0.hub.directory().rooms.values().map(|room| (room.name.clone(), room.visible())).collect()
    }

    /// Signs a room token.
    ///
    /// # Errors
    /// [`Code::Internal`].
    pub fn sign(&self, claims: &Claims) -> Result<String, Refusal> {
        self.0.secrets.load().rooms.sign(claims)
    }
}

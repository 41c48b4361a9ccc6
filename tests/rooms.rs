//! rooms/1 and the REST API from outside: who may enter, what is refused and how, what survives bad input.

mod api;
mod door;
mod pause;
mod recording_rules;
mod recording_trouble;
mod recordings;
mod relay;
mod rough;
mod talk;
mod webhooks;

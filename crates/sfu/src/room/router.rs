//! The way of datagrams and packets: in through a transport, to the slots that show the track, out through theirs.

use std::time::{Duration, Instant};

use crate::context::Context;
use crate::demux::{TransportId, is_stun_success};
use crate::engine::{Mid, Output as LegOutput, Packet, Path, Why};
use crate::event::Event;
use crate::id::TrackId;
use crate::room::Room;
use crate::simulcast::Layer;
use crate::speaker::{PERIOD, speakers};
use crate::worker::Output;

impl Room {
    pub(crate) fn handle_datagram(&mut self, id: TransportId, path: Path, bytes: &[u8], context: &mut Context) {
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.transport.handle_datagram(path, bytes, context.now);
            self.pump(id, Some(path), context);
        }
    }

    /// A timer of a transport that was set for `at`.
    pub(crate) fn handle_timeout(&mut self, id: TransportId, at: Instant, context: &mut Context) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if leg.scheduled != Some(at) {
            return;
        }
        leg.scheduled = None;
        if leg.transport.poll_timeout().is_some_and(|due| due <= context.now) {
            leg.transport.handle_timeout(context.now);
        }
        self.pump(id, None, context);
    }

    /// Sends what was queued for a receiver.
    pub(crate) fn flush(&mut self, id: TransportId, context: &mut Context) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        leg.touched = false;
        leg.transport.flush(context.now);
        self.pump(id, None, context);
    }

    /// Takes everything that a transport has to say. `answered`: the path of the datagram that it was just given.
    pub(crate) fn pump(&mut self, id: TransportId, answered: Option<Path>, context: &mut Context) {
        while let Some(output) = self.legs.get_mut(&id).and_then(|leg| leg.transport.poll_output()) {
            match output {
                LegOutput::Transmit { path, bytes } => {
                    if answered == Some(path) && is_stun_success(&bytes) {
                        context.demux.validate(path, id, context.now);
                    }
                    context.outputs.push_back(Output::Transmit { path, bytes });
                }
                LegOutput::Packet(packet) => self.route(id, packet, context),
                LegOutput::Connected => self.connected(id, context),
                LegOutput::KeyFrameWanted(mid) => self.relay_key_frame_request(id, mid, context),
                LegOutput::ChannelOpen => {
                    if let Some(leg) = self.legs.get_mut(&id) {
                        leg.channel = true;
                    }
                }
                LegOutput::Text(text) => {
                    if let Some(leg) = self.legs.get(&id) {
                        context.outputs.push_back(Output::Text { participant: leg.owner, text });
                    }
                }
                LegOutput::Closed(why) => return self.closed(id, why, context),
            }
        }
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let Some(due) = leg.transport.poll_timeout() else { return };
        if leg.scheduled.is_none_or(|scheduled| due < scheduled) {
            leg.scheduled = Some(due);
            context.schedule(due, id);
        }
    }

    /// Moves a packet of a publisher to everybody who sees or hears its track.
    fn route(&mut self, from: TransportId, mut packet: Packet, context: &mut Context) {
        context.counters.packets_in += 1;
        let forwards = self.forwards();
        let Some(leg) = self.legs.get_mut(&from) else { return };
        let published = leg.published.iter().find(|(mid, _)| *mid == packet.mid).map(|(_, track)| *track);
        // Reports of a muted track keep the clock right for when it speaks again.
        let (captured, broken) = leg.clock.captured(&packet);
        packet.captured = captured;
        let Some(track) = published.and_then(|track| self.tracks.get_mut(&track)).filter(|t| forwards && !t.silent())
        else {
            context.counters.packets_dropped += 1;
            return;
        };
        if let Some(level) = packet.level.filter(|_| track.source.is_audio()) {
            track.voice.handle_level(level, context.now);
        }
        let known = track.layers.len();
        let Some((layer, changed)) = track.layer(&packet, context.now) else {
            context.counters.packets_dropped += 1;
            return;
        };
        // Sound begins anew anywhere, and a recorder has its place at once. A picture waits for the next report.
        let restarted = changed || broken && track.source.is_audio();
        let (id, appeared) = (track.id, track.layers.len() > known);
        if track.format != Some(packet.format) {
            track.format = Some(packet.format);
            self.announce_codec(id, context);
        }
        if appeared || restarted {
            self.retarget(id, restarted.then_some(layer), context);
        }
        self.fan_out(id, layer, &packet, context);
    }

    fn fan_out(&mut self, track: TrackId, layer: usize, packet: &Packet, context: &mut Context) {
        let Some(track) = self.tracks.get(&track) else { return };
        let Some(from) = track.layers.get(layer) else { return };
        for &(receiver, slot) in &track.receivers {
            let Some(leg) = self.legs.get_mut(&receiver) else { continue };
            let sent = leg.forward(slot, (layer, from), packet, context.now);
            if sent > 0 {
                context.counters.packets_out += sent;
                context.counters.bytes_out += sent * packet.payload.len() as u64;
                context.touch(leg);
            }
        }
    }

    /// The codec of a track is known with its first packet: everybody hears of it, and slots that cannot decode it
    /// are given away.
    fn announce_codec(&mut self, id: TrackId, context: &mut Context) {
        let Some(track) = self.tracks.get(&id) else { return };
        let (participant, event) = (track.participant, Event::Track(track.event()));
        self.tell_others(participant, &event, context);
        self.assign(context);
    }

    fn connected(&mut self, id: TransportId, context: &mut Context) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        leg.connected = true;
        context.counters.transports_connected += 1;
        let tracks: Vec<TrackId> = leg.slots.iter().filter_map(|slot| slot.track.map(|(track, _)| track)).collect();
        for track in tracks {
            self.want_key_frames(track, context);
        }
    }

    /// A receiver cannot decode: if it has only begun, it gets its beginning again, else its publisher is asked, not more
    /// often than is good for it.
    fn relay_key_frame_request(&mut self, id: TransportId, mid: Mid, context: &mut Context) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let Some((index, slot)) = leg.slots.iter().enumerate().find(|(_, slot)| slot.mid == mid) else { return };
        let (held, layer) = (slot.held.is_some(), slot.current.or(slot.target));
        let Some(track) = slot.track.and_then(|(track, _)| self.tracks.get_mut(&track)).filter(|_| !held) else {
            return;
        };
        let sent = leg.replay(index, &track.layers, context.now);
        if sent > 0 {
            context.counters.packets_out += sent;
            context.touch(leg);
        } else if let Some(layer) = layer.and_then(|layer| track.layers.get_mut(layer)) {
            layer.keys.want(context.now);
            let track = track.id;
            self.ask_for_key_frames(track, context);
        }
    }

    /// Asks for the key frames of a track that are due.
    pub(crate) fn ask_for_key_frames(&mut self, track: TrackId, context: &mut Context) {
        let Some(track) = self.tracks.get_mut(&track) else { return };
        let Some((from, mid)) = track.from else { return };
        let poll = |layer: &mut Layer| layer.keys.poll(context.now).then_some(layer.rid);
        let due: Vec<_> = track.layers.iter_mut().filter_map(poll).collect();
        for rid in due {
            let Some(leg) = self.legs.get_mut(&from) else { return };
            leg.transport.request_key_frame(mid, rid, context.now);
            context.counters.key_frame_requests += 1;
            context.touch(leg);
        }
    }

    /// The regular look at key frames (each time), speakers and layers (each [`PERIOD`]).
    pub(crate) fn handle_tick(&mut self, context: &mut Context) {
        let tracks: Vec<TrackId> = self.tracks.keys().copied().collect();
        for &track in &tracks {
            self.ask_for_key_frames(track, context);
        }
        if self.look.is_some_and(|look| context.now < look) || !self.forwards() {
            return;
        }
        self.look = Some(context.now + PERIOD - Duration::from_millis(1));
        for track in tracks {
            self.retarget(track, None, context);
        }
        self.look_at_speakers(context);
    }

    fn look_at_speakers(&mut self, context: &mut Context) {
        self.tracks.values_mut().for_each(|track| track.voice.handle_timeout(context.now));
        let list = speakers(self.tracks.values().map(|track| (track.id, track.participant, &track.voice)));
        if list == self.speakers {
            return;
        }
        self.speakers.clone_from(&list);
        for &participant in self.members.keys() {
            context.event(participant, Event::Speak(list.clone()));
        }
        self.assign(context);
    }

    /// A transport ended by itself.
    fn closed(&mut self, id: TransportId, why: Why, context: &mut Context) {
        match why {
            Why::Remote => {}
            Why::Failed => context.counters.transports_failed += 1,
            Why::Panicked => context.counters.panics += 1,
        }
        self.end_leg(id, context);
        self.assign(context);
    }

    /// Ends a transport that says goodbye first.
    pub(crate) fn close_leg(&mut self, id: TransportId, context: &mut Context) {
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.transport.close(context.now);
            while let Some(output) = leg.transport.poll_output() {
                if let LegOutput::Transmit { path, bytes } = output {
                    context.outputs.push_back(Output::Transmit { path, bytes });
                }
            }
        }
        self.end_leg(id, context);
    }

    /// Removes a transport and the tracks that it brought.
    pub(crate) fn end_leg(&mut self, id: TransportId, context: &mut Context) {
        let Some(leg) = self.legs.remove(&id) else { return };
        context.died.push(id);
        for (_, track) in &leg.published {
            if let Some(track) = self.unpublish(*track) {
                self.tell_others(leg.owner, &Event::TrackGone(track.event()), context);
            }
        }
        if let Some(member) = self.members.get_mut(&leg.owner) {
            member.legs.retain(|known| *known != id);
        }
    }
}

//! The allocations of a server: by id, by 5-tuple, and by the time at which something of each ends.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use crate::address::FiveTuple;
use crate::allocation::{Allocation, AllocationId};
use crate::stats::Stats;

#[derive(Default)]
pub(super) struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_client: HashMap<FiveTuple, AllocationId>,
    /// One entry an allocation: its [`Allocation::timer`].
    timers: BTreeSet<(Instant, AllocationId)>,
    /// The client of the last packet: packets come in runs.
    last: Option<(FiveTuple, AllocationId)>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    allocation: Option<Box<Allocation>>,
}

impl Table {
    /// The id that the next allocation will have.
    pub(super) fn next_id(&self) -> AllocationId {
        let slot = self.free.last().copied().unwrap_or(self.slots.len() as u32);
        let generation = self.slots.get(slot as usize).map_or(0, |slot| slot.generation);
        AllocationId { slot, generation }
    }

    /// Adds an allocation with the id of [`Table::next_id`].
    pub(super) fn insert(&mut self, allocation: Allocation) {
        let id = allocation.id;
        self.by_client.insert(allocation.client, id);
        self.timers.insert((allocation.timer, id));
        match self.free.pop() {
            Some(slot) => self.slots[slot as usize].allocation = Some(Box::new(allocation)),
            None => self.slots.push(Slot { generation: 0, allocation: Some(Box::new(allocation)) }),
        }
    }

    pub(super) fn remove(&mut self, id: AllocationId) -> Option<Box<Allocation>> {
        let slot = self.slots.get_mut(id.slot as usize).filter(|slot| slot.generation == id.generation)?;
        let allocation = slot.allocation.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.slot);
        self.unalias(allocation.client, id);
        if let Some(to) = allocation.mobility.as_ref().and_then(|mobility| mobility.pending.map(|pending| pending.to)) {
            self.unalias(to, id);
        }
        self.timers.remove(&(allocation.timer, id));
        self.last = None;
        Some(allocation)
    }

    /// A 5-tuple leads to an allocation, beside the one that it has.
    pub(super) fn alias(&mut self, client: FiveTuple, id: AllocationId) {
        self.by_client.insert(client, id);
    }

    /// A 5-tuple leads to an allocation no more. Where it leads to another one by now, it stays.
    pub(super) fn unalias(&mut self, client: FiveTuple, id: AllocationId) {
        if self.by_client.get(&client) == Some(&id) {
            self.by_client.remove(&client);
        }
        self.last = None;
    }

    pub(super) fn id_of(&self, client: FiveTuple) -> Option<AllocationId> {
        self.by_client.get(&client).copied()
    }

    pub(super) fn get(&self, id: AllocationId) -> Option<&Allocation> {
        let slot = self.slots.get(id.slot as usize).filter(|slot| slot.generation == id.generation)?;
        slot.allocation.as_deref()
    }

    pub(super) fn get_mut(&mut self, id: AllocationId) -> Option<&mut Allocation> {
        let slot = self.slots.get_mut(id.slot as usize).filter(|slot| slot.generation == id.generation)?;
        slot.allocation.as_deref_mut()
    }

    /// The allocation of a client, quickly.
    pub(super) fn of_client(&mut self, client: FiveTuple) -> Option<&mut Allocation> {
        let id = match self.last {
            Some((last, id)) if last == client => id,
            _ => {
                let id = self.id_of(client)?;
                self.last = Some((client, id));
                id
            }
        };
        self.get_mut(id)
    }

    /// Something of an allocation changed that may end earlier or later than its timer.
    pub(super) fn reschedule(&mut self, id: AllocationId) {
        let Some(allocation) = self.get_mut(id) else { return };
        let (before, after) = (allocation.timer, allocation.next_end());
        allocation.timer = after;
        self.timers.remove(&(before, id));
        self.timers.insert((after, id));
    }

    pub(super) fn next_timer(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// An allocation of which something is over; reschedule or remove it.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<AllocationId> {
        let (at, id) = *self.timers.first()?;
        if at > now {
            return None;
        }
        self.timers.remove(&(at, id));
        Some(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Allocation> {
        self.slots.iter().filter_map(|slot| slot.allocation.as_deref())
    }

    /// 5-tuples that lead to an allocation.
    #[cfg(test)]
    pub(super) fn tuples(&self) -> usize {
        self.by_client.len()
    }

    /// Writes down how many allocations there are now, and what they hold.
    pub(super) fn count(&self, stats: &mut Stats) {
        for allocation in self.iter() {
            stats.allocations += 1;
            stats.allocations_over[allocation.client.transport as usize] += 1;
            stats.permissions += allocation.permissions.len() as u64;
            stats.channels += allocation.channels.len() as u64;
        }
    }
}

//! Which relayed ports of one family are free. Who uses the others is the registrar's business.

use rand::{Rng, RngExt};

/// A set of ports between a lowest and a highest one.
#[derive(Debug)]
pub(crate) struct Ports {
    min: u16,
    max: u16,
    used: Vec<u64>,
    count: u32,
}

impl Ports {
    /// All ports of the range are free.
    pub(crate) fn new(min: u16, max: u16) -> Self {
        Self { min, max: max.max(min), used: vec![0; 1 << 10], count: 0 }
    }

    fn is_used(&self, port: u16) -> bool {
        self.used[usize::from(port >> 6)] >> (port & 63) & 1 == 1
    }

    fn mark(&mut self, port: u16) {
        self.used[usize::from(port >> 6)] |= 1 << (port & 63);
        self.count += 1;
    }

    /// Takes a random free port: random, because a guessable port invites injection (RFC 8656 section 7.2, RFC 6056).
    pub(crate) fn take(&mut self, rng: &mut impl Rng) -> Option<u16> {
        let port = self.search(rng, |ports, port| !ports.is_used(port))?;
        self.mark(port);
        Some(port)
    }

    /// Takes a random free even port; with `pair`, the next higher one too.
    pub(crate) fn take_even(&mut self, rng: &mut impl Rng, pair: bool) -> Option<u16> {
        let fits = |ports: &Self, port: u16| {
            let next_free = || port < ports.max && !ports.is_used(port + 1);
            port.is_multiple_of(2) && !ports.is_used(port) && (!pair || next_free())
        };
        let port = self.search(rng, fits)?;
        self.mark(port);
        if pair {
            self.mark(port + 1);
        }
        Some(port)
    }

    fn search(&self, rng: &mut impl Rng, fits: impl Fn(&Self, u16) -> bool) -> Option<u16> {
        let size = self.size();
        // A few throws find a port in all but a nearly full range; then look at each, from a random start.
        let throw = |rng: &mut _| self.min + RngExt::random_range(rng, 0..size) as u16;
        for _ in 0..8 {
            let port = throw(rng);
            if fits(self, port) {
                return Some(port);
            }
        }
        let start = u32::from(throw(rng) - self.min);
        (0..size).map(|step| self.min + ((start + step) % size) as u16).find(|port| fits(self, *port))
    }

    /// Frees a port.
    pub(crate) fn give_back(&mut self, port: u16) {
        if self.is_used(port) {
            self.used[usize::from(port >> 6)] &= !(1 << (port & 63));
            self.count -= 1;
        }
    }

    /// Ports in the range.
    pub(crate) fn size(&self) -> u32 {
        u32::from(self.max - self.min) + 1
    }

    /// Ports in use.
    pub(crate) fn used(&self) -> u32 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    /// Rule: turn-ports
    #[test]
    fn gives_each_port_once_and_takes_it_back() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut ports = Ports::new(50_000, 50_009);
        let mut taken: Vec<u16> = std::iter::from_fn(|| ports.take(&mut rng)).collect();
        taken.sort_unstable();
        assert_eq!(taken, (50_000..=50_009).collect::<Vec<_>>());
        ports.give_back(50_003);
        assert_eq!(ports.take_even(&mut rng, false), None);
        ports.give_back(50_002);
        assert_eq!(ports.take_even(&mut rng, true), Some(50_002));
        assert_eq!(ports.used(), 10);
    }

    #[test]
    fn works_at_the_upper_end() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut ports = Ports::new(65_534, 65_535);
        assert_eq!(ports.take_even(&mut rng, true), Some(65_534));
        assert_eq!(ports.take(&mut rng), None);
    }
}

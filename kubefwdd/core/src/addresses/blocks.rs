//! Which addresses are taken, in blocks of 256, and which namespace each block belongs to.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::range::AddressRange;

/// The blocks of a range. Only blocks in use take memory.
#[derive(Debug)]
pub(super) struct Blocks {
    range: AddressRange,
    used: BTreeMap<u32, Block>,
    owned: BTreeMap<u32, Vec<u32>>,
}

#[derive(Debug)]
struct Block {
    /// The number of the namespace that takes new addresses from here.
    owner: Option<u32>,
    /// A bit per address that is taken or unusable.
    taken: [u64; 4],
    /// How many are taken.
    count: u16,
}

impl Blocks {
    pub(super) fn new(range: AddressRange) -> Self {
        Self {
            range,
            used: BTreeMap::new(),
            owned: BTreeMap::new(),
        }
    }

    /// Takes the lowest free address for a namespace: from its own blocks, else from the block
    /// that is its own by number, else from a block of nobody, else wherever one is left.
    pub(super) fn take_any(&mut self, namespace: u32, numbered: Option<u32>) -> Option<Ipv4Addr> {
        let own = self.owned.get(&namespace).into_iter().flatten().copied();
        let own = own.filter_map(|block| self.lowest(block)).next();
        let address = own
            .or_else(|| self.claim(numbered.into_iter(), namespace))
            .or_else(|| {
                // The numbering points at the lower half; large namespaces stay out of its way.
                let (half, end) = (self.range.blocks() / 2, self.range.blocks());
                self.claim((half..end).chain(0..half), namespace)
            })
            .or_else(|| (0..self.range.blocks()).find_map(|block| self.lowest(block)))?;
        self.take(address);
        Some(address)
    }

    /// Takes this address, which is in the range. False when it is taken or unusable.
    pub(super) fn take(&mut self, address: Ipv4Addr) -> bool {
        let (number, last) = self.range.place(address);
        let block = self
            .used
            .entry(number)
            .or_insert_with(|| Block::new(&self.range, number));
        let is_free = !block.has(last);
        if is_free {
            block.taken[usize::from(last >> 6)] |= 1 << (last & 63);
            block.count += 1;
        }
        is_free
    }

    /// Gives an address back that was taken.
    pub(super) fn give(&mut self, address: Ipv4Addr) {
        let (number, last) = self.range.place(address);
        let Some(block) = self.used.get_mut(&number) else {
            return;
        };
        block.taken[usize::from(last >> 6)] &= !(1 << (last & 63));
        block.count = block.count.saturating_sub(1);
        if block.count > 0 {
            return;
        }
        let owner = block.owner;
        self.used.remove(&number);
        if let Some(owner) = owner
            && let Some(list) = self.owned.get_mut(&owner)
        {
            list.retain(|owned| *owned != number);
            if list.is_empty() {
                self.owned.remove(&owner);
            }
        }
    }

    /// The blocks of a namespace, as their first addresses, in the order it got them.
    pub(super) fn of(&self, namespace: u32) -> impl Iterator<Item = Ipv4Addr> {
        let list = self.owned.get(&namespace).into_iter().flatten();
        list.map(|block| self.range.address(*block, 0))
    }

    /// Gives a namespace a block that it had before a restart and that has addresses taken.
    pub(super) fn restore(&mut self, namespace: u32, start: Ipv4Addr) {
        let (number, _) = self.range.place(start);
        if let Some(block) = self
            .used
            .get_mut(&number)
            .filter(|block| block.owner.is_none())
        {
            block.owner = Some(namespace);
            self.owned.entry(namespace).or_default().push(number);
        }
    }

    /// Makes the first block of nobody that has a free address the namespace's own.
    fn claim(&mut self, blocks: impl Iterator<Item = u32>, namespace: u32) -> Option<Ipv4Addr> {
        for number in blocks {
            let owner = self.used.get(&number).and_then(|block| block.owner);
            if owner.is_some() {
                continue;
            }
            let Some(address) = self.lowest(number) else {
                continue;
            };
            let range = &self.range;
            let block = self
                .used
                .entry(number)
                .or_insert_with(|| Block::new(range, number));
            block.owner = Some(namespace);
            self.owned.entry(namespace).or_default().push(number);
            return Some(address);
        }
        None
    }

    fn lowest(&self, number: u32) -> Option<Ipv4Addr> {
        let last = match self.used.get(&number) {
            Some(block) => block.lowest(),
            None => Block::new(&self.range, number).lowest(),
        };
        last.map(|last| self.range.address(number, last))
    }
}

impl Block {
    fn new(range: &AddressRange, number: u32) -> Self {
        let mut taken = [0; 4];
        for last in 0..=u8::MAX {
            if range.check(range.address(number, last)).is_err() {
                taken[usize::from(last >> 6)] |= 1u64 << (last & 63);
            }
        }
        Self {
            owner: None,
            taken,
            count: 0,
        }
    }

    fn has(&self, last: u8) -> bool {
        self.taken[usize::from(last >> 6)] >> (last & 63) & 1 == 1
    }

    fn lowest(&self) -> Option<u8> {
        (0..=u8::MAX)
            .step_by(64)
            .zip(self.taken)
            .find_map(|(first, word)| {
                let bit = u8::try_from(word.trailing_ones())
                    .ok()
                    .filter(|bit| *bit < 64)?;
                Some(first + bit)
            })
    }
}

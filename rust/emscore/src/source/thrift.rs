//! Walks Thrift's compact encoding, in which Parquet writes its footer and page headers, without
//! building anything. Every length is compared with the bytes that are there; the parquet crate
//! allocates what they declare.

/// Structs within structs, at most; Parquet's own nest about six deep.
const MAX_DEPTH: usize = 32;

/// What a walk over one struct found.
pub(super) struct Walked {
    /// Bytes that the struct takes.
    pub length: usize,
    /// Its fields 1 to 3 where they are integers: of a page header, its type and its uncompressed
    /// and compressed size.
    pub integers: [Option<i64>; 4],
}

/// Walks the struct at the start of `bytes`; `None` if it does not fit there or makes no sense.
pub(super) fn walk(bytes: &[u8]) -> Option<Walked> {
    let mut walker = Walker { bytes, at: 0 };
    let mut integers = [None; 4];
    walker.structure(0, &mut |id, value| {
        if let Some(slot) = usize::try_from(id).ok().and_then(|id| integers.get_mut(id)) {
            *slot = Some(value);
        }
    })?;
    Some(Walked {
        length: walker.at,
        integers,
    })
}

struct Walker<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Walker<'_> {
    fn byte(&mut self) -> Option<u8> {
        self.at += 1;
        self.bytes.get(self.at - 1).copied()
    }

    fn skip(&mut self, n: u64) -> Option<()> {
        self.at = self.at.checked_add(usize::try_from(n).ok()?)?;
        (self.at <= self.bytes.len()).then_some(())
    }

    fn left(&self) -> u64 {
        (self.bytes.len() - self.at) as u64
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn zigzag(&mut self) -> Option<i64> {
        let n = self.varint()?;
        Some((n >> 1) as i64 ^ -((n & 1) as i64))
    }

    fn structure(&mut self, depth: usize, integer: &mut dyn FnMut(i64, i64)) -> Option<()> {
        let mut id = 0;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Some(());
            }
            id = match head >> 4 {
                0 => self.zigzag()?,
                delta => id + i64::from(delta),
            };
            match head & 0x0f {
                1 | 2 => {} // a boolean is its type
                4..=6 => integer(id, self.zigzag()?),
                kind => self.value(kind, depth)?,
            }
        }
    }

    fn value(&mut self, kind: u8, depth: usize) -> Option<()> {
        if depth == MAX_DEPTH {
            return None;
        }
        match kind {
            1..=3 => self.skip(1),
            4..=6 => self.varint().map(drop),
            7 => self.skip(8),
            8 => {
                let length = self.varint()?;
                self.skip(length)
            }
            9 | 10 => {
                let head = self.byte()?;
                let count = match head >> 4 {
                    15 => self.varint()?,
                    count => count.into(),
                };
                self.repeat(count, &[head & 0x0f], depth)
            }
            11 => match self.varint()? {
                0 => Some(()),
                count => {
                    let kinds = self.byte()?;
                    self.repeat(count, &[kinds >> 4, kinds & 0x0f], depth)
                }
            },
            12 => self.structure(depth + 1, &mut |_, _| {}),
            13 => self.skip(16),
            _ => None,
        }
    }

    fn repeat(&mut self, count: u64, kinds: &[u8], depth: usize) -> Option<()> {
        // Every element takes a byte at least.
        if count > self.left() {
            return None;
        }
        for _ in 0..count {
            for &kind in kinds {
                self.value(kind, depth + 1)?;
            }
        }
        Some(())
    }
}

//! Named values one after the other, as bytes: `count` (2), then for each `length` (1) and name, `length` (4) and value.
//! All little-endian. Instructions and reports are written as the fields that they have in their streams.

use super::DecodeError;

/// Adds a list of fields to bytes.
pub(super) struct List<'a> {
    out: &'a mut Vec<u8>,
    count_at: usize,
    count: u16,
}

impl<'a> List<'a> {
    pub(super) fn begin(out: &'a mut Vec<u8>) -> List<'a> {
        let count_at = out.len();
        out.extend([0; 2]);
        List { out, count_at, count: 0 }
    }

    pub(super) fn bytes(&mut self, name: &str, value: &[u8]) -> &mut Self {
        debug_assert!(name.len() < 256 && self.count < u16::MAX);
        self.out.push(name.len() as u8);
        self.out.extend(name.as_bytes());
        self.out.extend((value.len() as u32).to_le_bytes());
        self.out.extend(value);
        self.count += 1;
        self.out[self.count_at..self.count_at + 2].copy_from_slice(&self.count.to_le_bytes());
        self
    }

    pub(super) fn put(&mut self, name: &str, value: impl std::fmt::Display) -> &mut Self {
        self.bytes(name, value.to_string().as_bytes())
    }
}

/// A list of fields, read.
pub(super) struct Read<'a>(Vec<(&'a [u8], &'a [u8])>);

impl<'a> Read<'a> {
    /// Takes a list off the front of the bytes.
    pub(super) fn take(rest: &mut &'a [u8]) -> Result<Read<'a>, DecodeError> {
        let count = u16::from_le_bytes(array(rest)?);
        let mut fields = Vec::with_capacity(usize::from(count).min(64));
        for _ in 0..count {
            let [length] = array(rest)?;
            let name = slice(rest, usize::from(length))?;
            let length = u32::from_le_bytes(array(rest)?) as usize;
            fields.push((name, slice(rest, length)?));
        }
        Ok(Read(fields))
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + '_ {
        self.0.iter().copied()
    }

    pub(super) fn text(&self, name: &'static str) -> Result<&'a str, DecodeError> {
        self.optional(name)?.ok_or(DecodeError::Missing(name))
    }

    pub(super) fn owned(&self, name: &'static str) -> Result<String, DecodeError> {
        self.text(name).map(str::to_owned)
    }

    pub(super) fn optional(&self, name: &'static str) -> Result<Option<&'a str>, DecodeError> {
        let Some((_, value)) = self.0.iter().find(|(known, _)| *known == name.as_bytes()) else {
            return Ok(None);
        };
        std::str::from_utf8(value).map(Some).map_err(|_| DecodeError::Value(name))
    }

    pub(super) fn value<T: std::str::FromStr>(&self, name: &'static str) -> Result<T, DecodeError> {
        self.text(name)?.parse().map_err(|_| DecodeError::Value(name))
    }

    pub(super) fn optional_value<T: std::str::FromStr>(
        &self,
        name: &'static str,
    ) -> Result<Option<T>, DecodeError> {
        self.optional(name)?.map(|text| text.parse().map_err(|_| DecodeError::Value(name))).transpose()
    }
}

fn array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], DecodeError> {
    let (found, behind) = rest.split_first_chunk::<N>().ok_or(DecodeError::Short)?;
    *rest = behind;
    Ok(*found)
}

fn slice<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], DecodeError> {
    let (found, behind) = rest.split_at_checked(length).ok_or(DecodeError::Short)?;
    *rest = behind;
    Ok(found)
}

//! Questions for names of the link's own (RFC 1035): answered here, or not ours.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const HEADER: usize = 12;
/// What every client takes (RFC 1035, section 4.2.1).
const LONGEST: usize = 512;
const A: u16 = 1;
const PTR: u16 = 12;
const AAAA: u16 = 28;
const ANY: u16 = 255;
const INTERNET: u16 = 1;
/// No such name.
const NAME_ERROR: u8 = 3;

/// Who is there.
pub(super) trait Directory {
    /// The addresses of a name in lower case; `None` where it is nobody's.
    fn addresses(&self, name: &str) -> Option<Vec<IpAddr>>;
    /// The name of an address.
    fn name(&self, address: IpAddr) -> Option<String>;
}

/// A question, as far as it is understood.
struct Question<'a> {
    id: [u8; 2],
    recursion: bool,
    name: String,
    kind: u16,
    bytes: &'a [u8],
}

/// The answer to a question about the link's own names; `None` where it is for somebody else to
/// answer. Anything malformed is nobody's.
pub(super) fn answer(query: &[u8], directory: &impl Directory) -> Option<Vec<u8>> {
    let question = read(query)?;
    let mut records: Vec<(u16, Vec<u8>)> = Vec::new();
    if question.kind == PTR {
        let name = directory.name(reversed(&question.name)?)?;
        records.push((PTR, encoded(&name)?));
    } else {
        for address in directory.addresses(&question.name)? {
            match (address, question.kind) {
                (IpAddr::V4(address), A | ANY) => records.push((A, address.octets().to_vec())),
                (IpAddr::V6(address), AAAA | ANY) => {
                    records.push((AAAA, address.octets().to_vec()));
                }
                _ => {}
            }
        }
        // Who asks again gets another of several that share a name first.
        let turn = usize::from(question.id[1]) % records.len().max(1);
        records.rotate_left(turn);
    }
    Some(reply(&question, 0, &records))
}

/// The answer that there is no such name; `None` to what is no question.
pub(super) fn deny(query: &[u8]) -> Option<Vec<u8>> {
    read(query).map(|question| reply(&question, NAME_ERROR, &[]))
}

fn reply(question: &Question<'_>, code: u8, records: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = vec![question.id[0], question.id[1]];
    // A response, ours to give, by one who could ask others.
    bytes.extend([0x84 | u8::from(question.recursion), 0x80 | code]);
    bytes.extend([0, 1, 0, 0, 0, 0, 0, 0]);
    bytes.extend(question.bytes);
    let mut count = 0_u16;
    for (kind, data) in records {
        // The name is the question's; nobody is to remember it, as it may be another's soon.
        let mut record = vec![0xc0, 12];
        record.extend(kind.to_be_bytes());
        record.extend(INTERNET.to_be_bytes());
        record.extend([0; 4]);
        record.extend(u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
        record.extend(data);
        if bytes.len() + record.len() > LONGEST {
            break;
        }
        bytes.extend(record);
        count += 1;
    }
    bytes[6..8].copy_from_slice(&count.to_be_bytes());
    bytes
}

fn read(query: &[u8]) -> Option<Question<'_>> {
    let (header, rest) = query.split_at_checked(HEADER)?;
    let is_query = header[2] & 0xf8 == 0 && header[4..6] == [0, 1];
    if !is_query {
        return None;
    }
    let (mut name, mut at) = (String::new(), 0);
    loop {
        let length = usize::from(*rest.get(at)?);
        if length == 0 {
            break;
        }
        // No question has a pointer in it.
        let label = rest.get(at + 1..at + 1 + length).filter(|_| length < 64)?;
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(&std::str::from_utf8(label).ok()?.to_ascii_lowercase());
        at += 1 + length;
        if at > 255 {
            return None;
        }
    }
    let end = at + 5;
    let fixed = rest.get(at + 1..end)?;
    let kind = u16::from_be_bytes([fixed[0], fixed[1]]);
    let is_internet = u16::from_be_bytes([fixed[2], fixed[3]]) == INTERNET;
    let id = [header[0], header[1]];
    let recursion = header[2] & 1 == 1;
    is_internet.then(|| Question { id, recursion, name, kind, bytes: &rest[..end] })
}

/// The address that `4.3.2.1.in-addr.arpa` and its like of IPv6 stand for.
fn reversed(name: &str) -> Option<IpAddr> {
    if let Some(parts) = name.strip_suffix(".in-addr.arpa") {
        let parts: Option<Vec<u8>> = parts.rsplit('.').map(|part| part.parse().ok()).collect();
        let bytes: [u8; 4] = parts?.try_into().ok()?;
        return Some(Ipv4Addr::from(bytes).into());
    }
    let parts = name.strip_suffix(".ip6.arpa")?;
    let digit = |part: &str| u128::from_str_radix(part, 16).ok().filter(|_| part.len() == 1);
    let digits: Option<Vec<u128>> = parts.rsplit('.').map(digit).collect();
    let digits = digits.filter(|digits| digits.len() == 32)?;
    Some(Ipv6Addr::from(digits.iter().fold(0, |number, digit| number << 4 | digit)).into())
}

fn encoded(name: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(name.len() + 2);
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..64).contains(length))?;
        bytes.push(length);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One;

    impl Directory for One {
        fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
            (name == "db").then(|| vec!["10.89.0.2".parse().expect("an address")])
        }

        fn name(&self, address: IpAddr) -> Option<String> {
            (address == IpAddr::from([10, 89, 0, 2])).then(|| "db".to_owned())
        }
    }

    fn query(name: &str, kind: u16) -> Vec<u8> {
        let mut bytes = vec![7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        bytes.extend(encoded(name).expect("a name"));
        bytes.extend(kind.to_be_bytes());
        bytes.extend(INTERNET.to_be_bytes());
        bytes
    }

    #[test]
    fn the_link_s_own_names_are_answered() {
        let reply = answer(&query("DB", A), &One).expect("an answer");
        assert_eq!(reply[..8], [7, 9, 0x85, 0x80, 0, 1, 0, 1]);
        assert_eq!(reply[reply.len() - 6..], [0, 4, 10, 89, 0, 2]);
        // It has no address of IPv6: that is an answer too, and nobody else's to give.
        let none = answer(&query("db", AAAA), &One).expect("an answer");
        assert_eq!(none[..8], [7, 9, 0x85, 0x80, 0, 1, 0, 0]);
        let back = answer(&query("2.0.89.10.in-addr.arpa", PTR), &One).expect("an answer");
        assert!(back.ends_with(&[0, 4, 2, b'd', b'b', 0]));
        assert_eq!(deny(&query("db", A)).expect("an answer")[3], 0x83);
    }

    #[test]
    fn other_questions_are_for_others() {
        for other in [query("web", A), query("db.lan", A), query("1.1.1.1.in-addr.arpa", PTR)] {
            assert_eq!(answer(&other, &One), None);
        }
        let whole = query("db", A);
        for end in 0..whole.len() {
            assert_eq!(answer(&whole[..end], &One), None, "cut at {end}");
        }
        let mut looped = whole.clone();
        looped[HEADER] = 0xc0;
        assert_eq!(answer(&looped, &One), None);
        let mut response = whole;
        response[2] |= 0x80;
        assert_eq!(answer(&response, &One), None);
    }

    #[test]
    fn addresses_are_read_backwards() {
        let six = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
        assert_eq!(reversed(six), "fd00::2".parse().ok());
        for text in ["1.2.3.in-addr.arpa", "256.1.1.1.in-addr.arpa", "a.ip6.arpa", "db"] {
            assert_eq!(reversed(text), None, "{text}");
        }
    }
}

//! TEMP
use crate::bundle::capabilities::CapabilitySet;
use rustix::io::Errno;
use rustix::thread::{CapabilitySet as Caps, CapabilitySets};
pub(super) fn limit_bounding_set(set: CapabilitySet) -> Result<(), Errno> {
    for n in 0..41u32 {
        if set.0 & (1 << n) == 0 {
            rustix::thread::remove_capability_from_bounding_set(Caps::from_bits_retain(1 << n))?;
        }
    }
    Ok(())
}
pub(super) fn assume(set: CapabilitySet, root: bool) -> Result<(), Errno> {
    let b = Caps::from_bits_retain(if root { set.0 } else { 0 });
    rustix::thread::set_capabilities(
        None,
        CapabilitySets { effective: b, permitted: b, inheritable: Caps::empty() },
    )
}

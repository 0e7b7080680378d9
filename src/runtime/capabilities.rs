//! Takes capabilities away from the process (capabilities(7)).

use rustix::io::Errno;
use rustix::thread::CapabilitySet as Bits;

use crate::bundle::capabilities::{COUNT, Capabilities, CapabilitySet};
use crate::sys;

/// Drops from the bounding set what is not in `kept`, for this process and all it becomes.
pub(super) fn limit_bounding_set(kept: CapabilitySet) -> Result<(), Errno> {
    // Up to 63: a newer kernel may have capabilities that have no name here.
    for number in 0..u64::BITS {
        let bit = 1_u64 << number;
        if kept.bits() & bit != 0 {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(Bits::from_bits_retain(bit)) {
            // One past the kernel's last.
            Err(Errno::INVAL) if number >= OLDEST => return Ok(()),
            other => other?,
        }
    }
    Ok(())
}

/// Linux 5.11 knows all capabilities, so none below can be missing.
const OLDEST: u32 = COUNT;

/// Sets what the process holds.
pub(super) fn assume(sets: Capabilities) -> Result<(), Errno> {
    rustix::thread::clear_ambient_capability_set()?;
    let bits = |set: CapabilitySet| Bits::from_bits_retain(set.bits());
    // Only what it has can be kept; a root of fewer powers outside keeps fewer.
    let permitted = Bits::from_bits_retain(sys::process::permitted()?) & bits(sets.permitted);
    let effective = bits(sets.effective) & permitted;
    let inheritable = bits(sets.inheritable);
    sys::process::set_capabilities(effective.bits(), permitted.bits(), inheritable.bits())?;
    for capability in bits(sets.ambient) & permitted & inheritable {
        rustix::thread::configure_capability_in_ambient_set(capability, true)?;
    }
    Ok(())
}

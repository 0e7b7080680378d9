//! Calls about who a process is.

use rustix::io::Errno;

use super::call::{Call, Whose};
use super::ids::{Credentials, Ids, NONE, given};
use super::name::{descriptor, word};
use super::people::Tag;
use super::powers;
use super::serve::{CONTINUE, Done, Server, refuse, value};
use crate::sys::notify::{self, Notification};

/// `CAP_SETGID`, `CAP_SETUID`
const SET_GROUP: u32 = 6;
const SET_USER: u32 = 7;

/// Whether the caller may become anyone: root may, and who kept that much of root's capabilities.
fn may_change(call: &Notification, caller: &Credentials, capability: u32) -> bool {
    let has = || powers::Held::of(call.thread).is_some_and(|held| held.is_effective(capability));
    caller.is_root() || caller.keeps_powers && has()
}

/// `NGROUPS_MAX`
const MOST_GROUPS: usize = 65536;

impl Credentials {
    fn ids(&self, whose: Whose) -> Ids {
        match whose {
            Whose::User => self.user,
            Whose::Group => self.group,
        }
    }
}

impl Server {
    /// getuid(2) and kin. The kernel itself answers root, who may be nobody in a namespace of its own.
    pub(super) fn id(&mut self, call: &Notification, whose: Whose, effective: bool) -> Done {
        match Self::tag(call) {
            Ok((tag, _)) if tag.credentials != 0 => {
                let ids = self.people.get(tag).ids(whose);
                value(if effective { ids.effective } else { ids.real })
            }
            _ => CONTINUE,
        }
    }

    pub(super) fn three_ids(&mut self, call: &Notification, whose: Whose) -> Done {
        let ids = match Self::tag(call) {
            Ok((tag, _)) if tag.credentials != 0 => self.people.get(tag).ids(whose),
            _ => return CONTINUE,
        };
        for (id, address) in [ids.real, ids.effective, ids.saved].into_iter().zip(call.arguments) {
            match self.write(call, address, &id.to_ne_bytes()) {
                done if done == value(0) => {}
                failed => return failed,
            }
        }
        value(0)
    }

    pub(super) fn groups(&mut self, call: &Notification) -> Done {
        let Ok(caller) = self.caller(call) else { return CONTINUE };
        let count = u32::try_from(caller.groups.len()).unwrap_or_default();
        match descriptor(call.arguments[0]) {
            0 => value(count),
            room if room < 0 || room.cast_unsigned() < count => refuse(Errno::INVAL),
            _ if count == 0 => value(0),
            _ => {
                let bytes: Vec<u8> = caller.groups.iter().flat_map(|id| id.to_ne_bytes()).collect();
                match self.write(call, call.arguments[1], &bytes) {
                    done if done == value(0) => value(count),
                    failed => failed,
                }
            }
        }
    }

    pub(super) fn set_groups(&mut self, call: &Notification) -> Done {
        let Ok((tag, hard)) = Self::tag(call) else { return CONTINUE };
        let caller = self.people.get(tag);
        if !(self.powers.set_group && may_change(call, &caller, SET_GROUP)) {
            return refuse(Errno::PERM);
        }
        let count = usize::try_from(descriptor(call.arguments[0])).unwrap_or(usize::MAX);
        if count > MOST_GROUPS {
            return refuse(Errno::INVAL);
        }
        let mut bytes = vec![0; count * 4];
        if count > 0
            && notify::read_memory(call.thread, call.arguments[1], &mut bytes) != Ok(count * 4)
        {
            return refuse(Errno::FAULT);
        }
        let mut groups: Vec<u32> = bytes
            .chunks_exact(4)
            .filter_map(|id| id.try_into().ok().map(u32::from_ne_bytes))
            .collect();
        if groups.contains(&NONE) {
            return refuse(Errno::INVAL);
        }
        groups.sort_unstable(); // as the kernel does
        let new = Credentials { groups, ..(*caller).clone() };
        self.assume(call, tag, hard, &new)
    }

    /// `PR_SET_KEEPCAPS`: the kernel does it too, and refuses what it refuses.
    pub(super) fn keep_powers(&mut self, call: &Notification) -> Done {
        let Ok((tag, hard)) = Self::tag(call) else { return CONTINUE };
        let old = self.people.get(tag);
        // Who has no powers has none to keep.
        let keeps_powers = call.arguments[1] == 1 && old.may_change_ids();
        let new = Credentials { keeps_powers, ..(*old).clone() };
        let _ = self.assume(call, tag, hard, &new);
        CONTINUE
    }

    /// setuid(2) and kin.
    pub(super) fn become_other(&mut self, call: &Notification, meaning: Call) -> Done {
        let Ok((tag, hard)) = Self::tag(call) else { return CONTINUE };
        let old = self.people.get(tag);
        let [first, second, third] = [0, 1, 2].map(|at| word(call.arguments[at]));
        let (Call::Set(whose)
        | Call::SetTwo(whose)
        | Call::SetThree(whose)
        | Call::SetFileSystem(whose)) = meaning
        else {
            return CONTINUE;
        };
        let any = match whose {
            Whose::User => self.powers.set_user && may_change(call, &old, SET_USER),
            Whose::Group => self.powers.set_group && may_change(call, &old, SET_GROUP),
        };
        let ids = old.ids(whose);
        let new = match meaning {
            Call::Set(_) => ids.set(first, any),
            Call::SetTwo(_) => ids.set_two(given(first), given(second), any),
            Call::SetFileSystem(_) => Ok(ids.set_file_system(first, any)),
            _ => ids.set_three([given(first), given(second), given(third)], any),
        };
        let new = match new {
            Ok(new) => new,
            Err(errno) => return refuse(errno),
        };
        let credentials = match whose {
            Whose::User => Credentials { user: new, ..(*old).clone() },
            Whose::Group => Credentials { group: new, ..(*old).clone() },
        };
        let done = self.assume(call, tag, hard, &credentials);
        if let Call::SetFileSystem(_) = meaning { value(ids.file_system) } else { done }
    }

    /// Makes the caller someone else.
    pub(super) fn assume(
        &mut self,
        call: &Notification,
        tag: Tag,
        hard: u64,
        new: &Credentials,
    ) -> Done {
        let Some(credentials) = self.people.place(new) else { return refuse(Errno::NOMEM) };
        if credentials == tag.credentials {
            return value(0);
        }
        match self.set_tag(call, Tag { credentials, ..tag }, hard) {
            Ok(()) => value(0),
            Err(errno) => refuse(errno),
        }
    }
}

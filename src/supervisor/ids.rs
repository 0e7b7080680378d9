//! Who a process is said to be, and who may become whom: pure rules, as in credentials(7).

use rustix::io::Errno;

/// What a process would know of itself if it had real ids.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// User ids.
    pub user: Ids,
    /// Group ids.
    pub group: Ids,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Whether a change of its user leaves it root's powers until it executes a program
    /// (`PR_SET_KEEPCAPS`).
    pub keeps_powers: bool,
}

/// One kind of id, four times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ids {
    /// Who started it.
    pub real: u32,
    /// As whom it acts.
    pub effective: u32,
    /// Whom it may become again.
    pub saved: u32,
    /// Whose files it makes; the effective one unless setfsuid(2) was called.
    pub file_system: u32,
}

/// What root of the container may do: what its capabilities leave it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // capabilities, each its own
pub struct Powers {
    /// `CAP_SETUID`
    pub set_user: bool,
    /// `CAP_SETGID`
    pub set_group: bool,
    /// `CAP_CHOWN`
    pub chown: bool,
    /// `CAP_MKNOD`
    pub make_nodes: bool,
}

/// The id that means "leave it" or is none at all.
pub(super) const NONE: u32 = u32::MAX;

/// `None` where an argument leaves the id as it is.
pub(super) fn given(id: u32) -> Option<u32> {
    (id != NONE).then_some(id)
}

impl Ids {
    /// One id in all four places.
    pub fn all(id: u32) -> Self {
        Self { real: id, effective: id, saved: id, file_system: id }
    }

    fn has(self, id: u32) -> bool {
        [self.real, self.effective, self.saved].contains(&id)
    }

    /// setuid(2), setgid(2); `any` for who may become anyone.
    pub(super) fn set(self, id: u32, any: bool) -> Result<Self, Errno> {
        if id == NONE {
            return Err(Errno::INVAL);
        }
        if any {
            return Ok(Self::all(id));
        }
        if id == self.real || id == self.saved {
            return Ok(Self { effective: id, file_system: id, ..self });
        }
        Err(Errno::PERM)
    }

    /// setreuid(2), setregid(2)
    pub(super) fn set_two(
        self,
        real: Option<u32>,
        effective: Option<u32>,
        any: bool,
    ) -> Result<Self, Errno> {
        let mut new = self;
        if let Some(id) = real {
            if !any && id != self.real && id != self.effective {
                return Err(Errno::PERM);
            }
            new.real = id;
        }
        if let Some(id) = effective {
            if !any && !self.has(id) {
                return Err(Errno::PERM);
            }
            new.effective = id;
        }
        if real.is_some() || effective.is_some_and(|id| id != self.real) {
            new.saved = new.effective;
        }
        new.file_system = new.effective;
        Ok(new)
    }

    /// setresuid(2), setresgid(2)
    pub(super) fn set_three(
        self,
        [real, effective, saved]: [Option<u32>; 3],
        any: bool,
    ) -> Result<Self, Errno> {
        let allowed = |id: Option<u32>| any || id.is_none_or(|id| self.has(id));
        if ![real, effective, saved].into_iter().all(allowed) {
            return Err(Errno::PERM);
        }
        let effective = effective.unwrap_or(self.effective);
        Ok(Self {
            real: real.unwrap_or(self.real),
            effective,
            saved: saved.unwrap_or(self.saved),
            file_system: effective,
        })
    }

    /// setfsuid(2), setfsgid(2): never fails, the old id is the answer.
    pub(super) fn set_file_system(self, id: u32, any: bool) -> Self {
        let allowed = id != NONE && (any || self.has(id) || id == self.file_system);
        if allowed { Self { file_system: id, ..self } } else { self }
    }

    /// execve(2): the effective id is the file's where its bit says so, and is saved.
    pub(super) fn execute(self, of_file: Option<u32>) -> Self {
        let effective = of_file.unwrap_or(self.effective);
        Self { real: self.real, effective, saved: effective, file_system: effective }
    }
}

impl Credentials {
    /// Root without further groups: whoever has no tag.
    pub fn root() -> Self {
        Self { user: Ids::all(0), group: Ids::all(0), groups: Vec::new(), keeps_powers: false }
    }

    /// A user as a container starts with it.
    pub fn of(uid: u32, gid: u32, groups: Vec<u32>) -> Self {
        Self { user: Ids::all(uid), group: Ids::all(gid), groups, keeps_powers: false }
    }

    /// Whether it may do what takes root's powers over ids.
    pub(super) fn may_change_ids(&self) -> bool {
        self.is_root() || self.keeps_powers
    }

    /// Whether nothing of root is left to it, and nothing was kept: it has no capabilities (capabilities(7),
    /// "Effect of user ID changes on capabilities").
    pub(super) fn has_no_powers(&self) -> bool {
        let Ids { real, effective, saved, .. } = self.user;
        !(self.keeps_powers || [real, effective, saved].contains(&0))
    }

    pub(super) fn is_root(&self) -> bool {
        self.user.effective == 0
    }

    /// Whether files may be handled that are someone else's.
    pub(super) fn owns_all_files(&self) -> bool {
        self.user.file_system == 0
    }

    pub(super) fn is_in(&self, group: u32) -> bool {
        self.group.file_system == group || self.groups.contains(&group)
    }

    /// chown(2): whether the owner of a file may be changed.
    pub(super) fn may_chown(
        &self,
        (owner, group): (u32, u32),
        to: (Option<u32>, Option<u32>),
        powers: Powers,
    ) -> bool {
        if self.owns_all_files() && powers.chown {
            return true;
        }
        let own = self.user.file_system == owner;
        let user_fits = to.0.is_none_or(|id| own && id == owner);
        let group_fits = to.1.is_none_or(|id| own && (id == group || self.is_in(id)));
        user_fits && group_fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: Ids = Ids { real: 1000, effective: 1000, saved: 1000, file_system: 1000 };
    /// A set-user-ID root program of user 1000.
    const RAISED: Ids = Ids { real: 1000, effective: 0, saved: 0, file_system: 0 };

    #[test]
    fn root_becomes_anyone_for_good() {
        assert_eq!(Ids::all(0).set(33, true), Ok(Ids::all(33)));
        assert_eq!(Ids::all(33).set(0, false), Err(Errno::PERM));
        assert_eq!(Ids::all(0).set(NONE, true), Err(Errno::INVAL));
        assert_eq!(Ids::all(0).set_three([Some(33); 3], true), Ok(Ids::all(33)));
    }

    #[test]
    fn a_user_moves_between_its_own_ids() {
        let dropped = RAISED.set_two(None, Some(1000), true).expect("a change");
        assert_eq!((dropped.effective, dropped.saved, dropped.file_system), (1000, 0, 1000));
        assert_eq!(dropped.set(0, false).map(|ids| ids.effective), Ok(0));
        assert_eq!(dropped.set_three([None, Some(0), None], false).map(|ids| ids.saved), Ok(0));
        assert_eq!(USER.set_three([None, Some(0), None], false), Err(Errno::PERM));
        assert_eq!(USER.set_three([None; 3], false), Ok(USER));
    }

    #[test]
    fn setting_the_real_id_saves_the_effective_one() {
        let swapped = RAISED.set_two(Some(0), Some(1000), true).expect("a change");
        assert_eq!((swapped.real, swapped.effective, swapped.saved), (0, 1000, 1000));
        assert_eq!(USER.set_two(Some(5), None, false), Err(Errno::PERM));
        // The effective id alone, set to the real one, saves nothing (setreuid(2)).
        assert_eq!(RAISED.set_two(None, Some(1000), false).map(|ids| ids.saved), Ok(0));
    }

    #[test]
    fn the_file_system_id_is_refused_in_silence() {
        assert_eq!(USER.set_file_system(0, false), USER);
        assert_eq!(RAISED.set_file_system(1000, false).file_system, 1000);
        assert_eq!(USER.set_file_system(NONE, true), USER);
        let apart = Ids::all(0).set_file_system(33, true);
        assert_eq!(apart.set_three([None, None, None], true).map(|ids| ids.file_system), Ok(0));
    }

    #[test]
    fn an_exec_saves_what_it_gives() {
        assert_eq!(USER.execute(Some(0)), Ids { real: 1000, ..Ids::all(0) });
        let dropped = Ids { effective: 1000, file_system: 1000, ..RAISED };
        assert_eq!(dropped.execute(None), USER);
    }

    #[test]
    fn files_are_given_away_by_root_alone() {
        let powers = Powers { set_user: true, set_group: true, chown: true, make_nodes: true };
        let user = Credentials::of(1000, 1000, vec![27]);
        let root = Credentials::root();
        assert!(root.may_chown((5, 5), (Some(1000), Some(4)), powers));
        assert!(!root.may_chown((5, 5), (Some(1000), None), Powers { chown: false, ..powers }));
        assert!(user.may_chown((1000, 1000), (None, Some(27)), powers));
        assert!(user.may_chown((1000, 50), (Some(1000), Some(50)), powers));
        assert!(user.may_chown((0, 0), (None, None), powers));
        assert!(!user.may_chown((1000, 1000), (None, Some(28)), powers));
        assert!(!user.may_chown((1000, 1000), (Some(0), None), powers));
        assert!(!user.may_chown((0, 0), (None, Some(27)), powers));
    }
}

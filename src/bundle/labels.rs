//! What AppArmor and SELinux are to know a container's program by.

use serde::{Deserialize, Serialize};

use super::Error;

/// `--security-opt apparmor=` and `label=`, as typed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LabelRequest {
    /// `apparmor=PROFILE`; unconfined is no request.
    pub apparmor: Option<String>,
    /// `label=user:`
    pub user: Option<String>,
    /// `label=role:`
    pub role: Option<String>,
    /// `label=type:`
    pub kind: Option<String>,
    /// `label=level:`
    pub level: Option<String>,
    /// `label=filetype:`
    pub file_kind: Option<String>,
    /// `label=nested`: the container sees SELinux.
    pub nested: bool,
}

impl LabelRequest {
    /// Whether any module must be there for it.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The first option that is SELinux's, with its value.
    fn selinux_option(&self) -> Option<String> {
        let parts = [
            ("user", &self.user),
            ("role", &self.role),
            ("type", &self.kind),
            ("level", &self.level),
            ("filetype", &self.file_kind),
        ];
        let given = parts.iter().find_map(|(name, value)| Some((name, value.as_ref()?)));
        let text = given.map(|(name, value)| format!("label={name}:{value}"));
        text.or_else(|| self.nested.then(|| "label=nested".to_owned()))
    }
}

/// The host's security modules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecurityModules {
    /// Whether AppArmor is active.
    pub apparmor: bool,
    /// Where SELinux is active: the context of the host's policy for containers.
    pub selinux: Option<String>,
}

/// What the program is executed under.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labels {
    /// A profile that is loaded on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apparmor: Option<String>,
    /// A whole context, `user:role:type:level`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selinux: Option<String>,
}

impl Labels {
    /// Decides the labels; an option that this host cannot honour is refused by name.
    pub(super) fn new(request: &LabelRequest, host: &SecurityModules) -> Result<Self, Error> {
        if let Some(profile) = request.apparmor.as_ref().filter(|_| !host.apparmor) {
            let option = format!("apparmor={profile}");
            return Err(Error::NoSecurityModule { option, module: "AppArmor" });
        }
        let selinux = match (request.selinux_option(), &host.selinux) {
            (None, _) => None,
            (Some(option), None) => {
                return Err(Error::NoSecurityModule { option, module: "SELinux" });
            }
            (Some(_), Some(context)) => Some(relabel(context, request)),
        };
        if let Some(kind) = &request.file_kind {
            return Err(Error::FileLabel { kind: kind.clone() });
        }
        Ok(Self { apparmor: request.apparmor.clone(), selinux })
    }
}

/// `context` with the parts that were asked for; the level may hold colons itself (`s0:c1,c2`).
fn relabel(context: &str, request: &LabelRequest) -> String {
    let mut parts = context.splitn(4, ':');
    let wanted = [&request.user, &request.role, &request.kind, &request.level];
    let mut label = Vec::with_capacity(4);
    for wanted in wanted {
        let part = parts.next();
        label.extend(wanted.as_deref().or(part));
    }
    label.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "system_u:system_r:container_t:s0:c4,c5";

    fn labels(request: &LabelRequest, selinux: Option<&str>) -> Result<Labels, Error> {
        let selinux = selinux.map(str::to_owned);
        Labels::new(request, &SecurityModules { apparmor: false, selinux })
    }

    #[test]
    fn given_parts_take_the_place_of_the_policys() {
        let of = |request: LabelRequest| labels(&request, Some(HOST)).expect("labels").selinux;
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(of(LabelRequest::default()), None);
        assert_eq!(
            of(LabelRequest { kind: some("spc_t"), ..LabelRequest::default() }),
            some("system_u:system_r:spc_t:s0:c4,c5")
        );
        assert_eq!(
            of(LabelRequest {
                level: some("s0:c1,c2"),
                user: some("u"),
                ..LabelRequest::default()
            }),
            some("u:system_r:container_t:s0:c1,c2")
        );
        assert_eq!(of(LabelRequest { nested: true, ..LabelRequest::default() }), some(HOST));
    }

    #[test]
    fn what_the_host_has_not_is_refused_by_name() {
        let some = |text: &str| Some(text.to_owned());
        for (request, name) in [
            (LabelRequest { apparmor: some("x"), ..LabelRequest::default() }, "apparmor=x"),
            (LabelRequest { kind: some("t"), ..LabelRequest::default() }, "label=type:t"),
            (LabelRequest { file_kind: some("t"), ..LabelRequest::default() }, "label=filetype:t"),
            (LabelRequest { nested: true, ..LabelRequest::default() }, "label=nested"),
        ] {
            let error = labels(&request, None).expect_err("a refusal").to_string();
            assert!(error.contains(name) && error.contains("not active"), "{error}");
        }
        let file = LabelRequest { file_kind: some("t"), ..LabelRequest::default() };
        assert!(matches!(labels(&file, Some(HOST)), Err(Error::FileLabel { .. })));
    }
}

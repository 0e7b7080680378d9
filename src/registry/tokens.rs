//! What a registry wants to see before it answers: a password, or a token that another place gives
//! for it (distribution's token authentication specification).

use reqwest::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use reqwest::{Response, Url};
use serde::Deserialize;

use super::answer::{body, escape, said};
use super::challenge::{self, Challenge};
use super::transport::{STALL, Silence, Transport};
use super::{Error, Login, realm};

/// What is read of an answer with a token.
const TOKEN_LIMIT: usize = 64 << 10;

/// What the place for tokens answers.
#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
}

impl Transport {
    /// Gets what a refusal asks for; false if nothing that is here would help.
    pub(super) async fn authorize(&self, refusal: &Response) -> Result<bool, Error> {
        let headers = refusal.headers().get_all(WWW_AUTHENTICATE);
        let wanted = headers.iter().find_map(|value| challenge::parse(value.to_str().ok()?));
        let header = match (wanted, &self.login) {
            (Some(Challenge::Bearer { realm, service, scope }), _) => {
                let token = self.token(&realm, service.as_deref(), scope.as_deref()).await?;
                format!("Bearer {token}")
            }
            (Some(Challenge::Basic), Some(Login::Password { user, password })) => {
                basic(user, password)
            }
            _ => return Ok(false),
        };
        if let Ok(mut authorization) = self.authorization.lock() {
            *authorization = Some(header);
        }
        Ok(true)
    }

    /// A token from the realm that the registry named. What it is for is ours to say: a registry
    /// must not get a token for another's repositories.
    async fn token(
        &self,
        place: &str,
        service: Option<&str>,
        scope: Option<&str>,
    ) -> Result<String, Error> {
        let refuse = |why| Error::Redirect { registry: self.registry(), to: escape(place), why };
        let url = Url::parse(place).map_err(|_| refuse("that is no URL"))?;
        let host = self.endpoint.host();
        realm::check(&url, self.scheme(), host).map_err(refuse)?;
        let mut scopes: Vec<&str> = self.scopes.iter().map(String::as_str).collect();
        // Of a registry as a whole: its catalog.
        scopes
            .extend(scope.filter(|scope| self.scopes.is_empty() && scope.starts_with("registry:")));
        let knows_us = realm::may_see_login(&url, host);
        let request = match self.login.as_ref().filter(|_| knows_us) {
            Some(Login::Identity(token)) => {
                let scope = scopes.join(" ");
                let form = [
                    ("grant_type", "refresh_token"),
                    ("service", service.unwrap_or_default()),
                    ("client_id", "coracle"),
                    ("scope", &scope),
                    ("refresh_token", token),
                ];
                self.client.post(url.clone()).form(&form)
            }
            login => {
                let mut query: Vec<(&str, &str)> =
                    scopes.iter().map(|scope| ("scope", *scope)).collect();
                query.extend(service.map(|service| ("service", service)));
                let request = self.client.get(url.clone());
                match login {
                    Some(Login::Password { user, password }) => request
                        .query(&[("account", user)])
                        .query(&query)
                        .header(AUTHORIZATION, basic(user, password)),
                    _ => request.query(&query),
                }
            }
        };
        let answer = tokio::time::timeout(STALL, request.send()).await;
        let response = match answer {
            Ok(answer) => answer.map_err(|error| self.silent(Silence::Broken(error)))?,
            Err(_) => return Err(self.silent(Silence::Stalled(STALL))),
        };
        let status = response.status();
        let body = body(response, TOKEN_LIMIT).await;
        let (registry, said) = (self.registry(), said(&body));
        if status.is_server_error() {
            let what = format!("a token at {}", escape(url.host_str().unwrap_or_default()));
            return Err(Error::Status { registry, what, status: status.as_u16(), said });
        }
        if !status.is_success() {
            return Err(Error::Unauthorized {
                image: self.image.clone(),
                registry,
                status: status.as_u16(),
                said,
                login: self.login.is_some() && knows_us,
            });
        }
        let answer: Option<Answer> = serde_json::from_slice(&body).ok();
        let token = answer.and_then(|answer| answer.token.or(answer.access_token));
        token.filter(|token| token.bytes().all(|byte| byte.is_ascii_graphic())).ok_or_else(|| {
            let what = format!("the token of {}", self.registry());
            Error::Document { what, why: "it cannot be read".into() }
        })
    }
}

fn basic(user: &str, password: &str) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {text}")
}

//! The removal of an object, which in B2 is that of all the versions of its name.
//!
//! The oldest goes first: else a reader would meet an older version for as long as it takes, and a removal that breaks
//! off would bring it back for good. A key that may not delete, and a file that is locked against it, leave hiding it:
//! then nobody finds it by its name, which is all that the contract asks. A name is listed for its versions, save where
//! it is known that there is but one ([`super::uploaded`]).

use serde::Deserialize;
use serde_json::{Value, json};

use crate::ErrorKind;
use crate::remote::Answer;

use super::PAGE_NAMES_MAX;
use super::client::{Client, Question, Scope};
use super::session::Right;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Versions {
    files: Vec<Version>,
    next_file_name: Option<String>,
    next_file_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    file_id: String,
    file_name: String,
}

impl Client {
    /// That there is none is success.
    pub(super) async fn delete(&self, name: &str) -> Answer<()> {
        let session = self.session().await?;
        if !session.has(Right::DeleteFiles) || !session.has(Right::ListFiles) {
            return match session.has(Right::WriteFiles) {
                true => self.hide(name).await,
                false => session.must_have(Right::DeleteFiles, Some(name)),
            };
        }
        let denied = match self.delete_versions(name).await {
            Err(failed) if failed.is(ErrorKind::PermissionDenied) => failed,
            other => return other,
        };
        match self.hide(name).await {
            // What was wanted first says more.
            Err(failed) if failed.is(ErrorKind::PermissionDenied) => Err(denied),
            other => other,
        }
    }

    async fn delete_versions(&self, name: &str) -> Answer<()> {
        if let Some(file_id) = self.uploaded.take(name) {
            match self.delete_version(name, &file_id).await {
                // Somebody else was faster: what there is now is not known any more.
                Err(failed) if failed.is(ErrorKind::NotFound) => {}
                deleted => return deleted,
            }
        }
        for version in self.versions(name).await?.iter().rev() {
            match self.delete_version(name, &version.file_id).await {
                Err(failed) if !failed.is(ErrorKind::NotFound) => return Err(failed),
                // Or somebody else was faster.
                _ => {}
            }
        }
        Ok(())
    }

    async fn delete_version(&self, name: &str, file_id: &str) -> Answer<()> {
        let question = Question::Call {
            call: "b2_delete_file_version",
            right: Right::DeleteFiles,
            name: Some(name),
            scope: Scope::None,
            parameters: json!({ "fileName": name, "fileId": file_id }),
        };
        self.ask::<Value>(&question).await.map(drop)
    }

    /// All versions of that name, the newest first; the marks that hide it are among them.
    async fn versions(&self, name: &str) -> Answer<Vec<Version>> {
        let mut versions: Vec<Version> = Vec::new();
        let mut from = json!({ "startFileName": name });
        loop {
            let mut parameters = from;
            parameters["prefix"] = json!(name);
            parameters["maxFileCount"] = json!(PAGE_NAMES_MAX);
            let page: Versions = self
                .ask(&Question::Call {
                    call: "b2_list_file_versions",
                    right: Right::ListFiles,
                    name: Some(name),
                    scope: Scope::Bucket,
                    parameters,
                })
                .await?;
            versions.extend(page.files.into_iter().filter(|version| version.file_name == name));
            match (page.next_file_name, page.next_file_id) {
                (Some(next), Some(id)) if next == name => {
                    from = json!({ "startFileName": next, "startFileId": id });
                }
                _ => return Ok(versions),
            }
        }
    }

    async fn hide(&self, name: &str) -> Answer<()> {
        let question = Question::Call {
            call: "b2_hide_file",
            right: Right::WriteFiles,
            name: Some(name),
            scope: Scope::Bucket,
            parameters: json!({ "fileName": name }),
        };
        match self.ask::<Value>(&question).await {
            Err(failed) if !failed.is(ErrorKind::NotFound) => Err(failed),
            _ => Ok(()),
        }
    }
}

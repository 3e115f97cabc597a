//! `mcp serve`: this agent's own operations as an MCP server on standard input and output.
//!
//! The protocol is `rmcp`'s; what the tools do, the daemon's local API does ([`super::tools`]). A refused or
//! failed operation is a tool error whose structured content is `homing.error/v1`, so that a model reads
//! the code and the hint. With `--read-only` what changes anything is neither listed nor done.

use clap::Args;
use homing_api::{ApiError, Client, Code};
use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::tool::ToolCallContext;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, Implementation, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt};
use serde::Serialize;

use crate::commands::{OK, Outcome};
use crate::session::Session;

/// This agent's own operations as an MCP server on standard input and output
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Only what changes nothing: no handshake, no decision about trust, no exposure
    #[arg(long)]
    read_only: bool,
}

pub(super) async fn run(session: &Session, args: &ServeArgs) -> Outcome {
    let agent = Agent::new(session.client()?.clone(), args.read_only);
    let failed = |e: &dyn std::fmt::Display| {
        ApiError::new(Code::StreamBroken, "the MCP client went away before it began")
            .why(e.to_string())
    };
    let running = agent.serve(rmcp::transport::stdio()).await.map_err(|e| failed(&e))?;
    running.waiting().await.map_err(|e| ApiError::new(Code::Internal, e.to_string()))?;
    Ok(OK)
}

/// The server: tools over one daemon.
#[derive(Clone, Debug)]
pub(super) struct Agent {
    pub(super) client: Client,
    read_only: bool,
    /// What changes nothing.
    reading: ToolRouter<Self>,
    /// What changes something.
    writing: ToolRouter<Self>,
}

impl Agent {
    fn new(client: Client, read_only: bool) -> Self {
        Self { client, read_only, reading: Self::reading(), writing: Self::writing() }
    }

    fn tools(&self) -> Vec<Tool> {
        let mut tools = self.reading.list_all();
        if !self.read_only {
            tools.extend(self.writing.list_all());
        }
        tools
    }
}

impl ServerHandler for Agent {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().build();
        let program = Implementation::new("homing", env!("CARGO_PKG_VERSION"));
        ServerConfig::new(capabilities).with_server_info(program).with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.tools()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let writes = self.writing.has_route(&request.name);
        if writes && self.read_only {
            let message = format!("{} changes something, and this server only reads", request.name);
            let error = ApiError::new(Code::PermissionDenied, message).hint(
                "a person can do it on the command line, or start the server without --read-only",
            );
            return Ok(refusal(&error).into());
        }
        let router = if writes { &self.writing } else { &self.reading };
        router.call(ToolCallContext::new(self, request, context)).await
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.tools().into_iter().find(|tool| tool.name == name)
    }
}

const INSTRUCTIONS: &str = "This is one agent of a mesh that is private by default: every agent has \
a permanent address derived from its key, and only peers that both sides approved can talk. A peer is named by its name, \
address or node ID. Approving lets a stranger in: ask the user first.";

/// What the API answered, as structured content.
pub(super) fn answer<T: Serialize>(result: Result<T, ApiError>) -> CallToolResult {
    match result {
        Ok(value) => match serde_json::to_value(value) {
            Ok(value) => CallToolResult::structured(value),
            Err(error) => refusal(&ApiError::new(Code::Internal, error.to_string())),
        },
        Err(error) => refusal(&error),
    }
}

fn refusal(error: &ApiError) -> CallToolResult {
    CallToolResult::structured_error(serde_json::to_value(error).expect("errors serialise"))
}

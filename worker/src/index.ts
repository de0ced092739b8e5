/**
 * The way to Deepgram Flux on Workers AI: checks who asks and what for, opens the WebSocket, and
 * hands it to the client untouched. No frame passes through this code, so it costs no CPU time
 * per frame, keeps every close code and has no message size limit of its own.
 *
 * Every answer that is not a WebSocket is JSON that says what to do. Nothing here logs a query
 * string, a key term or a token: key terms are names of people and rooms.
 */

const VERSION = "0.1.0";
const MODEL = "@cf/deepgram/flux";

export interface Env {
  /** Workers AI. */
  AI: Ai;
  /** The password that clients must send; nothing is answered without it. */
  FLUX_TOKEN?: string;
  /** "true" opens the Worker to the world while FLUX_TOKEN is unset. */
  ALLOW_ANONYMOUS?: string;
  /** Name of an AI Gateway of the account, through which the connections then go. */
  AI_GATEWAY_ID?: string;
  /** Bounds the connections a minute, whatever a client does. */
  LIMITER?: RateLimit;
}

export default {
  async fetch(request, env): Promise<Response> {
    try {
      return await route(request, env);
    } catch (error) {
      if (error instanceof Refusal) return error.toResponse();
      console.error(JSON.stringify({ event: "fault", name: error instanceof Error ? error.name : "" }));
      return new Refusal(500, "internal", "The Worker has a fault: please report it.").toResponse();
    }
  },
} satisfies ExportedHandler<Env>;

async function route(request: Request, env: Env): Promise<Response> {
  const url = new URL(request.url);
  if (!["/", "/v2/listen", "/health"].includes(url.pathname)) {
    throw new Refusal(404, "not-found", "There is nothing here: connect to / or /v2/listen, or ask /health.");
  }
  if (request.method !== "GET") {
    throw new Refusal(405, "method-not-allowed", "Only GET is possible here.", { headers: { Allow: "GET" } });
  }
  if (url.pathname === "/health") {
    return answer(200, { ok: true, version: VERSION, model: MODEL, auth: authMode(env) });
  }
  if (request.headers.get("Upgrade")?.toLowerCase() !== "websocket") {
    throw new Refusal(
      426,
      "upgrade-required",
      "Only WebSocket is spoken here: enter this address in Home Assistant or wyoming-flux. A browser can ask /health.",
    );
  }
  await checkToken(request, env);
  if (env.LIMITER !== undefined && !(await env.LIMITER.limit({ key: "connect" })).success) {
    throw new Refusal(429, "rate-limited", "Too many connections within a minute: wait a moment.", {
      headers: { "Retry-After": "10" },
    });
  }
  return connect(env, readParameters(url.searchParams));
}

// --- Who asks ------------------------------------------------------------------------------------

/** Says how clients are let in; a Worker without a password lets nobody in unless told to. */
function authMode(env: Env): "bearer" | "none" {
  if (env.FLUX_TOKEN?.trim()) return "bearer";
  if (env.ALLOW_ANONYMOUS === "true") return "none";
  throw new Refusal(
    503,
    "not-configured",
    "This Worker has no FLUX_TOKEN yet: set one with `npx wrangler secret put FLUX_TOKEN`.",
  );
}

async function checkToken(request: Request, env: Env): Promise<void> {
  if (authMode(env) === "none") return;
  const given = /^Bearer +(\S+) *$/i.exec(request.headers.get("Authorization") ?? "")?.[1] ?? "";
  if (await equal(given, env.FLUX_TOKEN!.trim())) return;
  const message = given
    ? "This is not the FLUX_TOKEN of this Worker: enter the right one, or set a new one with `npx wrangler secret put FLUX_TOKEN`."
    : "The header `Authorization: Bearer <FLUX_TOKEN>` is missing: enter the token.";
  throw new Refusal(401, "unauthorized", message, { headers: { "WWW-Authenticate": "Bearer" } });
}

/** Compares in a time that says nothing about the secret, not even its length. */
async function equal(given: string, secret: string): Promise<boolean> {
  const digest = (text: string) => crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  const [one, other] = await Promise.all([digest(given), digest(secret)]);
  return crypto.subtle.timingSafeEqual(one, other);
}

// --- What for ------------------------------------------------------------------------------------

const SAMPLE_RATES = ["8000", "16000", "24000", "44100", "48000"];
const DEFAULT_EOT_THRESHOLD = "0.7";
const MAX_KEYTERMS = 100;
const MAX_KEYTERM_CHARACTERS = 100;
const MAX_TAG_CHARACTERS = 128;
/**
 * The binding puts all parameters into the URL of one request, and Workers take URLs of 16 KB.
 * What is left over is for the rest of that URL, and some reserve.
 */
const MAX_INPUT_BYTES = 14_000;

/** What Workers AI is asked for. All values are text: numbers make it fail with code 5030. */
type FluxInput = Record<string, string | string[]>;

/**
 * Reads what Flux on Workers AI knows from the query string; names it does not know are left out,
 * because a single one can make it refuse the connection.
 *
 * Ranges are Deepgram's, which are wider than those on Cloudflare's model page (2026-10-08): where
 * they differ, Workers AI decides itself.
 */
function readParameters(query: URLSearchParams): FluxInput {
  const eot = number(query, "eot_threshold", 0.5, 1);
  const eager = number(query, "eager_eot_threshold", 0.3, 0.9);
  if (eager !== undefined && Number(eager) > Number(eot ?? DEFAULT_EOT_THRESHOLD)) {
    throw invalid("eager_eot_threshold", `must not be above eot_threshold (${eot ?? DEFAULT_EOT_THRESHOLD})`);
  }
  const all: Record<string, string | string[] | undefined> = {
    encoding: choice(query, "encoding", ["linear16"]) ?? "linear16",
    sample_rate: choice(query, "sample_rate", SAMPLE_RATES) ?? "16000",
    eot_threshold: eot,
    eager_eot_threshold: eager,
    eot_timeout_ms: wholeNumber(query, "eot_timeout_ms", 500, 60_000),
    mip_opt_out: choice(query, "mip_opt_out", ["true", "false"]),
    keyterm: keyterms(query),
    tag: text("tag", single(query, "tag"), MAX_TAG_CHARACTERS),
  };
  const input: FluxInput = {};
  for (const [name, value] of Object.entries(all)) {
    if (value !== undefined) input[name] = value;
  }
  const size = encodeURIComponent(JSON.stringify(input)).length;
  if (size > MAX_INPUT_BYTES) {
    throw invalid(
      "keyterm",
      `is too long in sum (${size} of ${MAX_INPUT_BYTES} bytes): send fewer or shorter key terms`,
    );
  }
  return input;
}

function invalid(parameter: string, complaint: string): Refusal {
  return new Refusal(400, "invalid-parameter", `The parameter ${parameter} ${complaint}.`, { parameter });
}

function single(query: URLSearchParams, name: string): string | undefined {
  const values = query.getAll(name);
  if (values.length > 1) throw invalid(name, "must not be given more than once");
  return values[0];
}

function choice(query: URLSearchParams, name: string, allowed: string[]): string | undefined {
  const value = single(query, name);
  if (value === undefined || allowed.includes(value)) return value;
  throw invalid(name, `must be ${allowed.join(" or ")}`);
}

function number(query: URLSearchParams, name: string, low: number, high: number): string | undefined {
  const value = single(query, name);
  if (value === undefined || (/^\d(\.\d{1,6})?$/.test(value) && within(value, low, high))) return value;
  throw invalid(name, `must be a number from ${low} to ${high}`);
}

function wholeNumber(query: URLSearchParams, name: string, low: number, high: number): string | undefined {
  const value = single(query, name);
  if (value === undefined || (/^\d{1,5}$/.test(value) && within(value, low, high))) return value;
  throw invalid(name, `must be a whole number from ${low} to ${high}`);
}

function within(value: string, low: number, high: number): boolean {
  return low <= Number(value) && Number(value) <= high;
}

/** One term as it is, several as an array: never joined, since a comma is part of a term. */
function keyterms(query: URLSearchParams): string | string[] | undefined {
  const terms = query.getAll("keyterm");
  if (terms.length > MAX_KEYTERMS) throw invalid("keyterm", `must not be given more than ${MAX_KEYTERMS} times`);
  for (const term of terms) text("keyterm", term, MAX_KEYTERM_CHARACTERS);
  return terms.length > 1 ? terms : terms[0];
}

function text(name: string, value: string | undefined, longest: number): string | undefined {
  if (value === undefined) return value;
  if (value.trim() === "") throw invalid(name, "must not be blank");
  if ([...value].length > longest) throw invalid(name, `must have at most ${longest} characters`);
  // U+FFFD is what the URL parser makes of bytes that are not UTF-8.
  if (/[\p{Cc}\uFFFD]/u.test(value)) throw invalid(name, "must be printable text in UTF-8");
  return value;
}

// --- Workers AI ----------------------------------------------------------------------------------

async function connect(env: Env, input: FluxInput): Promise<Response> {
  const gateway = env.AI_GATEWAY_ID?.trim();
  let response: Response;
  try {
    // The types know a key term as one string; Workers AI takes arrays since 2026-07-31.
    response = await env.AI.run(MODEL, input as unknown as Ai_Cf_Deepgram_Flux_Input, {
      websocket: true,
      ...(gateway ? { gateway: { id: gateway } } : {}),
    });
  } catch (error) {
    throw unreachable(error);
  }
  // With `websocket: true` a refusal does not throw: it comes as a response without a socket.
  if (!response.webSocket) throw await refusalOf(response);
  const headers = new Headers({ ...OURS, "x-wyoming-flux-model": MODEL });
  for (const name of REQUEST_IDS) {
    const value = response.headers.get(name);
    if (value !== null) headers.set(name, value);
  }
  return new Response(null, { status: 101, webSocket: response.webSocket, headers });
}

function unreachable(error: unknown): Refusal {
  // The error's text stays here: it can hold a URL with key terms.
  const said = error instanceof Error ? error.message : "";
  if (said.includes("needs to be run remotely")) {
    return new Refusal(503, "not-configured", "There is no Workers AI on this computer: deploy the Worker.");
  }
  const code = /^(\d{3,5}):/.exec(said)?.[1] ?? "upstream-failed";
  return upstream(502, code, `Workers AI could not be reached. ${advice(502, code)}`);
}

async function refusalOf(response: Response): Promise<Refusal> {
  const said = readError(await readSome(response));
  const details: Details = { requestId: requestIdOf(response), upstreamStatus: response.status };
  if (response.ok) {
    details.upstreamCode = said.code;
    return upstream(
      502,
      "no-websocket",
      "Workers AI opened no WebSocket; a parameter may be the reason: try again with encoding and sample_rate alone.",
      details,
    );
  }
  const retryAfter = response.headers.get("Retry-After");
  if (retryAfter !== null) details.headers = { "Retry-After": retryAfter };
  const code = said.code ?? `http-${response.status}`;
  const message = `Workers AI refused. ${said.message ? `${said.message} ` : ""}${advice(response.status, code)}`;
  // 401 and 403 would be taken for a wrong FLUX_TOKEN; here the Cloudflare account is meant.
  const kept = response.status >= 400 && response.status !== 401 && response.status !== 403;
  return upstream(kept ? response.status : 502, code, message, details);
}

/** What a person can do about a code of Workers AI (workers-ai/platform/errors, 2026-07-29). */
function advice(status: number, code: string): string {
  if (["3036", "4006"].includes(code))
    return "Today's free allowance is used up: wait until 00:00 UTC, or change to the Workers Paid plan.";
  if (["5035", "3023"].includes(code) || status === 402)
    return "Look at the plan and the payments of the Cloudflare account.";
  if (["10000", "3041", "5016", "5018"].includes(code) || status === 401 || status === 403)
    return "The Cloudflare account may not use this model: look at its Workers AI page.";
  if (code === "5030" || status === 400) return "Try again with encoding and sample_rate alone.";
  if (status === 408 || status === 429 || status >= 500) return "Try again in a moment.";
  return "Look for a newer version of this Worker.";
}

interface Said {
  code?: string;
  message?: string;
}

/** Reads the code and the sentence out of any of the error shapes of Workers AI and Deepgram. */
function readError(body: string): Said {
  let fields: unknown;
  try {
    fields = JSON.parse(body);
  } catch {
    return {};
  }
  if (!isRecord(fields)) return {};
  const inner = Array.isArray(fields.errors) ? fields.errors[0] : fields.error;
  const source = isRecord(inner) ? inner : fields;
  const message = pick(source, ["description", "message", "err_msg"], /\S/);
  return {
    code: pick(source, ["internalCode", "code", "err_code"], /^[\w.-]{1,64}$/),
    message: message?.replace(/[\p{Cc}\s]+/gu, " ").slice(0, 300),
  };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function pick(source: Record<string, unknown>, names: string[], shape: RegExp): string | undefined {
  for (const name of names) {
    const value = source[name];
    const found = typeof value === "number" ? String(value) : value;
    if (typeof found === "string" && shape.test(found)) return found;
  }
  return undefined;
}

/** Reads about 8 KB of a body, however long it is. */
async function readSome(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let read = "";
  try {
    for await (const chunk of response.body ?? []) {
      read += decoder.decode(chunk, { stream: true });
      if (read.length > 8192) break;
    }
  } catch {
    // A body that breaks off leaves the status, and that is what counts.
  }
  return read;
}

const REQUEST_IDS = ["cf-ai-req-id", "dg-request-id"];

function requestIdOf(response: Response): string | undefined {
  return REQUEST_IDS.map((name) => response.headers.get(name)).find((id) => id !== null) ?? undefined;
}

// --- Answers -------------------------------------------------------------------------------------

/** Says to a client that its parameters are honoured: the Worker of the model page ignores them. */
const OURS = { "x-wyoming-flux-worker": VERSION };

interface Details {
  /** Who refused: this Worker (the default), or what lies behind it. */
  source?: "worker" | "upstream";
  parameter?: string;
  requestId?: string;
  upstreamStatus?: number;
  upstreamCode?: string;
  headers?: Record<string, string>;
}

/** An answer that is not a WebSocket; the message says what to do. */
class Refusal extends Error {
  status: number;
  code: string;
  details: Details;

  constructor(status: number, code: string, message: string, details: Details = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.details = details;
  }

  toResponse(): Response {
    const { headers, source = "worker", ...rest } = this.details;
    return answer(this.status, { error: { source, code: this.code, message: this.message, ...rest } }, headers);
  }
}

function upstream(status: number, code: string, message: string, details: Details = {}): Refusal {
  const { requestId, upstreamStatus } = details;
  console.warn(JSON.stringify({ event: "refused", status, code, requestId, upstreamStatus }));
  return new Refusal(status, code, message, { ...details, source: "upstream" });
}

function answer(status: number, body: unknown, headers: Record<string, string> = {}): Response {
  return Response.json(body, { status, headers: { ...headers, ...OURS, "Cache-Control": "no-store" } });
}

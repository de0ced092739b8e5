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

/**
 * @typedef {object} Env
 * @property {Ai} AI Workers AI.
 * @property {string} [FLUX_TOKEN] The password that clients must send; nothing is answered without it.
 * @property {string} [ALLOW_ANONYMOUS] "true" opens the Worker to the world while FLUX_TOKEN is unset.
 * @property {string} [AI_GATEWAY_ID] Name of an AI Gateway of the account, through which connections then go.
 * @property {RateLimit} [LIMITER] Bounds the connections a minute, and the wrong tokens of an address.
 */

export default /** @satisfies {ExportedHandler<Env>} */ ({
  async fetch(request, env) {
    try {
      return await route(request, env);
    } catch (error) {
      if (error instanceof Refusal) return error.toResponse();
      console.error(JSON.stringify({ event: "fault", name: error instanceof Error ? error.name : "" }));
      return new Refusal(500, "internal", "The Worker has a fault: please report it.").toResponse();
    }
  },
});

/**
 * @param {Request} request
 * @param {Env} env
 * @returns {Promise<Response>}
 */
async function route(request, env) {
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
  await checkToken(request, env, url.pathname === "/v2/listen");
  await count(env, "connect", "Too many connections within a minute: wait a moment.");
  return connect(env, readParameters(url.searchParams));
}

/**
 * Refuses beyond the limit of `key`, which Cloudflare counts in each of its locations apart.
 *
 * @param {Env} env
 * @param {string} key
 * @param {string} message
 */
async function count(env, key, message) {
  if (env.LIMITER === undefined || (await env.LIMITER.limit({ key })).success) return;
  throw new Refusal(429, "rate-limited", message, { headers: { "Retry-After": "10" } });
}

// --- Who asks ------------------------------------------------------------------------------------

/**
 * Says how clients are let in; a Worker without a password lets nobody in unless told to.
 *
 * @param {Env} env
 * @returns {"bearer" | "none"}
 */
function authMode(env) {
  // Whoever pastes this file into Cloudflare's editor has to add both by hand.
  if (!env.AI) {
    const message = "This Worker has no Workers AI yet: add a binding of that kind, named AI, in its settings.";
    throw new Refusal(503, "not-configured", message);
  }
  if (env.FLUX_TOKEN?.trim()) return "bearer";
  if (env.ALLOW_ANONYMOUS === "true") return "none";
  throw new Refusal(
    503,
    "not-configured",
    "This Worker has no FLUX_TOKEN yet: add a secret of that name in its settings, or set one with `npx wrangler secret put FLUX_TOKEN`.",
  );
}

/**
 * Deepgram's own clients say `Token` where others say `Bearer`.
 *
 * @param {Request} request
 * @param {Env} env
 * @param {boolean} likeDeepgram
 */
async function checkToken(request, env, likeDeepgram) {
  if (authMode(env) === "none") return;
  const form = likeDeepgram ? /^(?:Bearer|Token) +(\S+) *$/i : /^Bearer +(\S+) *$/i;
  const given = form.exec(request.headers.get("Authorization") ?? "")?.[1] ?? "";
  if (await equal(given, env.FLUX_TOKEN?.trim() ?? "")) return;
  await count(
    env,
    `wrong token from ${request.headers.get("cf-connecting-ip") ?? "somewhere"}`,
    "Too many wrong tokens from this address within a minute: enter the right one, and wait a moment.",
  );
  const message = given
    ? "This is not the FLUX_TOKEN of this Worker: enter the right one, or set a new one with `npx wrangler secret put FLUX_TOKEN`."
    : "The header `Authorization: Bearer <FLUX_TOKEN>` is missing: enter the token.";
  throw new Refusal(401, "unauthorized", message, { headers: { "WWW-Authenticate": "Bearer" } });
}

/**
 * Compares in a time that says nothing about the secret, not even its length.
 *
 * @param {string} given
 * @param {string} secret
 */
async function equal(given, secret) {
  /** @param {string} text */
  const digest = (text) => crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
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

/**
 * What Workers AI is asked for. All values are text: numbers make it fail with code 5030.
 *
 * @typedef {Record<string, string | string[]>} FluxInput
 */

/**
 * Reads what Flux on Workers AI knows from the query string; names it does not know are left out,
 * because a single one can make it refuse the connection. Of Deepgram's own, those are refused
 * whose loss would be worse than an error: another model or language, and redaction.
 *
 * Ranges are Deepgram's, which are wider than those on Cloudflare's model page (2026-10-08): where
 * they differ, Workers AI decides itself.
 *
 * @param {URLSearchParams} query
 * @returns {FluxInput}
 */
function readParameters(query) {
  choice(query, "model", ["flux-general-en", MODEL]);
  for (const hint of query.getAll("language_hint")) {
    if (!/^en(-|$)/i.test(hint)) throw invalid("language_hint", "must be English, the only language here");
  }
  if (query.has("redact")) throw invalid("redact", "is not possible here: Workers AI does not redact");
  const eot = number(query, "eot_threshold", 0.5, 1);
  const eager = number(query, "eager_eot_threshold", 0.3, 0.9);
  if (eager !== undefined && Number(eager) > Number(eot ?? DEFAULT_EOT_THRESHOLD)) {
    throw invalid("eager_eot_threshold", `must not be above eot_threshold (${eot ?? DEFAULT_EOT_THRESHOLD})`);
  }
  /** @type {Record<string, string | string[] | undefined>} */
  const all = {
    encoding: choice(query, "encoding", ["linear16"]) ?? "linear16",
    sample_rate: choice(query, "sample_rate", SAMPLE_RATES) ?? "16000",
    eot_threshold: eot,
    eager_eot_threshold: eager,
    eot_timeout_ms: wholeNumber(query, "eot_timeout_ms", 500, 60_000),
    mip_opt_out: choice(query, "mip_opt_out", ["true", "false"]),
    keyterm: keyterms(query),
    tag: text("tag", single(query, "tag"), MAX_TAG_CHARACTERS),
  };
  /** @type {FluxInput} */
  const input = {};
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

/**
 * @param {string} parameter
 * @param {string} complaint
 */
function invalid(parameter, complaint) {
  return new Refusal(400, "invalid-parameter", `The parameter ${parameter} ${complaint}.`, { parameter });
}

/**
 * @param {URLSearchParams} query
 * @param {string} name
 */
function single(query, name) {
  const values = query.getAll(name);
  if (values.length > 1) throw invalid(name, "must not be given more than once");
  return values[0];
}

/**
 * @param {URLSearchParams} query
 * @param {string} name
 * @param {string[]} allowed
 */
function choice(query, name, allowed) {
  const value = single(query, name);
  if (value === undefined || allowed.includes(value)) return value;
  throw invalid(name, `must be ${allowed.join(" or ")}`);
}

/**
 * @param {URLSearchParams} query
 * @param {string} name
 * @param {number} low
 * @param {number} high
 */
function number(query, name, low, high) {
  const value = single(query, name);
  if (value === undefined || (/^\d(\.\d{1,6})?$/.test(value) && within(value, low, high))) return value;
  throw invalid(name, `must be a number from ${low} to ${high}`);
}

/**
 * @param {URLSearchParams} query
 * @param {string} name
 * @param {number} low
 * @param {number} high
 */
function wholeNumber(query, name, low, high) {
  const value = single(query, name);
  if (value === undefined || (/^\d{1,5}$/.test(value) && within(value, low, high))) return value;
  throw invalid(name, `must be a whole number from ${low} to ${high}`);
}

/**
 * @param {string} value
 * @param {number} low
 * @param {number} high
 */
function within(value, low, high) {
  return low <= Number(value) && Number(value) <= high;
}

/**
 * One term as it is, several as an array: never joined, since a comma is part of a term.
 *
 * @param {URLSearchParams} query
 */
function keyterms(query) {
  const terms = query.getAll("keyterm");
  if (terms.length > MAX_KEYTERMS) throw invalid("keyterm", `must not be given more than ${MAX_KEYTERMS} times`);
  for (const term of terms) text("keyterm", term, MAX_KEYTERM_CHARACTERS);
  return terms.length > 1 ? terms : terms[0];
}

/**
 * @param {string} name
 * @param {string | undefined} value
 * @param {number} longest
 */
function text(name, value, longest) {
  if (value === undefined) return value;
  if (value.trim() === "") throw invalid(name, "must not be blank");
  if ([...value].length > longest) throw invalid(name, `must have at most ${longest} characters`);
  // U+FFFD is what the URL parser makes of bytes that are not UTF-8.
  if (/[\p{Cc}\uFFFD]/u.test(value)) throw invalid(name, "must be printable text in UTF-8");
  return value;
}

// --- Workers AI ----------------------------------------------------------------------------------

/**
 * @param {Env} env
 * @param {FluxInput} input
 * @returns {Promise<Response>}
 */
async function connect(env, input) {
  const gateway = env.AI_GATEWAY_ID?.trim();
  let response;
  try {
    // The types know a key term as one string; Workers AI takes arrays since 2026-07-31.
    response = await env.AI.run(MODEL, /** @type {any} */ (input), {
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

/** @param {unknown} error */
function unreachable(error) {
  // The error's text stays here: it can hold a URL with key terms.
  const said = error instanceof Error ? error.message : "";
  if (said.includes("needs to be run remotely")) {
    return new Refusal(503, "not-configured", "There is no Workers AI on this computer: deploy the Worker.");
  }
  const code = /^(\d{3,5}):/.exec(said)?.[1] ?? "upstream-failed";
  return upstream(502, code, `Workers AI could not be reached. ${advice(502, code)}`);
}

/** @param {Response} response */
async function refusalOf(response) {
  const said = readError(await readSome(response));
  /** @type {Details} */
  const details = { requestId: requestIdOf(response), upstreamStatus: response.status };
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

/**
 * What a person can do about a code of Workers AI (workers-ai/platform/errors, 2026-07-29) or of
 * AI Gateway (2001, 2009, 7003).
 *
 * @param {number} status
 * @param {string} code
 */
function advice(status, code) {
  if (["2001", "7003"].includes(code))
    return "There is no AI Gateway of that name: look at the variable AI_GATEWAY_ID of this Worker.";
  if (code === "2009")
    return "The AI Gateway asks for a token of its own, which a Worker has not: switch off its authentication.";
  if (["3036", "4006"].includes(code))
    return "Today's free allowance is used up: wait until 00:00 UTC, or change to the Workers Paid plan.";
  if (["5035", "3023"].includes(code) || status === 402)
    return "Look at the plan and the payments of the Cloudflare account.";
  if (["10000", "9109", "3041", "5016", "5018"].includes(code) || status === 401 || status === 403)
    return "The Cloudflare account may not use this model: look at its Workers AI page.";
  if (code === "5030" || status === 400) return "Try again with encoding and sample_rate alone.";
  if (status === 408 || status === 429 || status >= 500) return "Try again in a moment.";
  return "Look for a newer version of this Worker.";
}

/**
 * Reads the code and the sentence out of any of the error shapes of Workers AI, AI Gateway (where
 * `error` is an array) and Deepgram.
 *
 * @param {string} body
 * @returns {{code?: string, message?: string}}
 */
function readError(body) {
  /** @type {unknown} */
  let fields;
  try {
    fields = JSON.parse(body);
  } catch {
    return {};
  }
  if (!isRecord(fields)) return {};
  const inner = [fields.errors, fields.error].flat().find(isRecord);
  const source = inner ?? fields;
  const message = pick(source, ["description", "message", "err_msg"], /\S/);
  return {
    code: pick(source, ["internalCode", "code", "err_code"], /^[\w.-]{1,64}$/),
    message: message?.replace(/[\p{Cc}\s]+/gu, " ").slice(0, 300),
  };
}

/**
 * @param {unknown} value
 * @returns {value is Record<string, unknown>}
 */
function isRecord(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * @param {Record<string, unknown>} source
 * @param {string[]} names
 * @param {RegExp} shape
 */
function pick(source, names, shape) {
  for (const name of names) {
    const value = source[name];
    const found = typeof value === "number" ? String(value) : value;
    if (typeof found === "string" && shape.test(found)) return found;
  }
  return undefined;
}

/**
 * Reads about 8 KB of a body, however long it is.
 *
 * @param {Response} response
 */
async function readSome(response) {
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

const REQUEST_IDS = ["cf-ai-req-id", "dg-request-id", "cf-aig-log-id"];

/** @param {Response} response */
function requestIdOf(response) {
  return REQUEST_IDS.map((name) => response.headers.get(name)).find((id) => id !== null) ?? undefined;
}

// --- Answers -------------------------------------------------------------------------------------

/** Says to a client that its parameters are honoured: the Worker of the model page ignores them. */
const OURS = { "x-wyoming-flux-worker": VERSION };

/**
 * @typedef {object} Details
 * @property {"worker" | "upstream"} [source] Who refused: this Worker (the default), or what lies behind it.
 * @property {string} [parameter]
 * @property {string} [requestId]
 * @property {number} [upstreamStatus]
 * @property {string} [upstreamCode]
 * @property {Record<string, string>} [headers]
 */

/** An answer that is not a WebSocket; the message says what to do. */
class Refusal extends Error {
  /**
   * @param {number} status
   * @param {string} code
   * @param {string} message
   * @param {Details} [details]
   */
  constructor(status, code, message, details = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.details = details;
  }

  toResponse() {
    const { headers, source = "worker", ...rest } = this.details;
    return answer(this.status, { error: { source, code: this.code, message: this.message, ...rest } }, headers);
  }
}

/**
 * @param {number} status
 * @param {string} code
 * @param {string} message
 * @param {Details} [details]
 */
function upstream(status, code, message, details = {}) {
  const { requestId, upstreamStatus } = details;
  console.warn(JSON.stringify({ event: "refused", status, code, requestId, upstreamStatus }));
  return new Refusal(status, code, message, { ...details, source: "upstream" });
}

/**
 * @param {number} status
 * @param {unknown} body
 * @param {Record<string, string>} [headers]
 */
function answer(status, body, headers = {}) {
  return Response.json(body, { status, headers: { ...headers, ...OURS, "Cache-Control": "no-store" } });
}

# The Worker as it is shipped, in the real runtime and with Cloudflare's own code of `env.AI`; only
# what lies behind env.AI is local: --external-addr=workers-ai=HOST:PORT.
#
# `cloudflare-internal:ai-api` and `typescript_strip_types` are not public interfaces: hence the
# pinned version in runtime/package.json.

using Workerd = import "/workerd/workerd.capnp";

const worker :Workerd.Config = (
  services = [
    (name = "worker", worker = .shipped),
    (name = "workers-ai", external = (http = ())),
  ],
  sockets = [(name = "http", http = (), service = "worker")],
  extensions = [(modules = [
    (name = "test:limiter", internal = true, esModule = embed "limiter.js"),
  ])],
);

const pasted :Workerd.Config = (
  services = [
    (name = "worker", worker = .withoutBindings),
    (name = "workers-ai", external = (http = ())),
  ],
  sockets = [(name = "http", http = (), service = "worker")],
);

const plain :Workerd.Config = (
  services = [
    (name = "worker", worker = .modelPage),
    (name = "workers-ai", external = (http = ())),
  ],
  sockets = [(name = "http", http = (), service = "worker")],
);

const shipped :Workerd.Worker = (
  modules = [(name = "index.js", esModule = embed "../../../worker/src/index.js")],
  compatibilityDate = "2026-10-20",
  bindings = [
    .ai,
    (name = "LIMITER", wrapped = (
      moduleName = "test:limiter",
      innerBindings = [(name = "limit", fromEnvironment = "LIMIT")],
    )),
    (name = "FLUX_TOKEN", fromEnvironment = "FLUX_TOKEN"),
    (name = "ALLOW_ANONYMOUS", fromEnvironment = "ALLOW_ANONYMOUS"),
    (name = "AI_GATEWAY_ID", fromEnvironment = "AI_GATEWAY_ID"),
  ],
);

const withoutBindings :Workerd.Worker = (
  modules = [(name = "index.js", esModule = embed "../../../worker/src/index.js")],
  compatibilityDate = "2026-10-20",
  bindings = [(name = "FLUX_TOKEN", fromEnvironment = "FLUX_TOKEN")],
);

const modelPage :Workerd.Worker = (
  modules = [(name = "plain.ts", esModule = embed "plain.ts")],
  compatibilityDate = "2026-10-20",
  compatibilityFlags = ["typescript_strip_types"],
  bindings = [.ai],
);

const ai :Workerd.Worker.Binding = (
  name = "AI",
  wrapped = (
    moduleName = "cloudflare-internal:ai-api",
    innerBindings = [(name = "fetcher", service = "workers-ai")],
  ),
);

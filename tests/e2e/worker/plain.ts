// The Worker of Cloudflare's model page of @cf/deepgram/flux, which people have already deployed:
// no token, and no parameter of the client reaches Flux.
export default {
  async fetch(request, env, ctx): Promise<Response> {
    const resp = await env.AI.run("@cf/deepgram/flux", {
      encoding: "linear16",
      sample_rate: "16000"
    }, {
      websocket: true
    });
    return resp;
  },
} satisfies ExportedHandler<Env>;

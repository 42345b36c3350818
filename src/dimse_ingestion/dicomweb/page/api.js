// Requests to the services, always by URLs relative to the page. The token stays in this module: it
// is written nowhere.

const SERVICES = "dicomweb";
let token = "";

/** A refused or failed request; `needsToken` if a token would help. */
export class RequestError extends Error {
  constructor(message, status, needsToken = false) {
    super(message);
    this.status = status;
    this.needsToken = needsToken;
  }
}

export function useToken(value) {
  token = value.trim();
}

/** Search by QIDO-RS; return the matches, whether there are more, and the total if it is known. */
export async function query(path, parameters, signal) {
  const answer = await request(path, parameters, "application/dicom+json", signal);
  const isMore = /additional results/.test(answer.headers.get("warning") ?? "");
  const total = answer.headers.get("x-total-count");
  const matches = answer.status === 204 ? [] : await answer.json();
  return { matches, isMore, total: total === null ? null : Number(total) };
}

/** Fetch a JSON object. */
export async function object(path, signal) {
  return (await request(path, {}, "application/json", signal)).json();
}

/** Fetch an image; return the URL of a blob: revoke it when the image is shown. */
export async function picture(path, parameters, signal) {
  const answer = await request(path, parameters, "image/jpeg", signal);
  return URL.createObjectURL(await answer.blob());
}

async function request(path, parameters, accept, signal) {
  const queryString = new URLSearchParams(parameters).toString();
  const headers = { accept };
  if (token) headers.authorization = `Bearer ${token}`;
  let answer;
  try {
    answer = await fetch(`${SERVICES}/${path}${queryString && `?${queryString}`}`, { headers, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new RequestError("The service can't be reached: check the connection, then try again.", 0);
  }
  if (!answer.ok) throw await refusal(answer);
  return answer;
}

async function refusal(answer) {
  const problem = await answer.json().catch(() => ({}));
  const detail = problem.detail ?? `The service answered ${answer.status}.`;
  if (answer.status !== 401) return new RequestError(detail, answer.status);
  const isBearer = /^bearer/i.test(answer.headers.get("www-authenticate") ?? "");
  if (!isBearer) return new RequestError(`You are not signed in. ${detail}`, 401);
  const message = token ? detail : "This storage space is only shown with a token: enter yours.";
  return new RequestError(message, 401, true);
}

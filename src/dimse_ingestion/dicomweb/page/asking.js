// Asks the services, always by addresses relative to the page. The token stays in this module: it
// is written nowhere.

const SERVICES = "dicomweb";
let token = "";

/** What the services refused; `asksForToken` where a token would help. */
export class Refused extends Error {
  constructor(message, status, asksForToken = false) {
    super(message);
    this.status = status;
    this.asksForToken = asksForToken;
  }
}

export function useToken(value) {
  token = value.trim();
}

/** A resource as DICOM JSON: what was found, and whether there is more of it. */
export async function found(path, parameters, signal) {
  const answer = await asked(path, parameters, "application/dicom+json", signal);
  const isMore = /additional results/.test(answer.headers.get("warning") ?? "");
  return { matches: answer.status === 204 ? [] : await answer.json(), isMore };
}

/** A picture, as the address of a blob: revoke it when it is shown. */
export async function picture(path, parameters, signal) {
  const answer = await asked(path, parameters, "image/jpeg", signal);
  return URL.createObjectURL(await answer.blob());
}

async function asked(path, parameters, accept, signal) {
  const query = new URLSearchParams(parameters).toString();
  const headers = { accept };
  if (token) headers.authorization = `Bearer ${token}`;
  let answer;
  try {
    answer = await fetch(`${SERVICES}/${path}${query && `?${query}`}`, { headers, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The service can't be reached: check the connection, then try again.", 0);
  }
  if (!answer.ok) throw await refusal(answer);
  return answer;
}

async function refusal(answer) {
  const problem = await answer.json().catch(() => ({}));
  const told = problem.detail ?? `The service answered ${answer.status}.`;
  if (answer.status !== 401) return new Refused(told, answer.status);
  const isBearer = /^bearer/i.test(answer.headers.get("www-authenticate") ?? "");
  if (!isBearer) return new Refused(`You are not signed in. ${told}`, 401);
  const why = token ? told : "This storage space is shown to bearers of a token: enter yours.";
  return new Refused(why, 401, true);
}

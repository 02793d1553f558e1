/** Commands of loops. Each but `create`, `refresh`, `vaults` and `proposals` takes `{ loop: <id> }`; without it the person is asked. */
export namespace CommandIDs {
  export const create = 'loops:create';
  export const refresh = 'loops:refresh';
  /** Also takes `vault`, the one to begin with. */
  export const vaults = 'loops:vaults';
  export const proposals = 'loops:proposals';
  export const notebook = 'loops:new-notebook';
  export const console = 'loops:new-console';
  export const terminal = 'loops:new-terminal';
  /** Also takes `agent`, a name of the configuration; without it the person is asked where there are several. */
  export const agent = 'loops:agent';
  export const files = 'loops:show-files';
  export const reveal = 'loops:show-in-panel';
  export const start = 'loops:start';
  export const stop = 'loops:stop';
  export const recreate = 'loops:recreate';
  export const cancel = 'loops:cancel';
  export const fetch = 'loops:fetch-repo';
  export const promote = 'loops:promote';
  export const distill = 'loops:distill';
  export const rename = 'loops:rename';
  export const settings = 'loops:settings';
  export const archive = 'loops:archive';
  export const unarchive = 'loops:unarchive';
  export const remove = 'loops:delete';
  export const share = 'loops:share';
  export const log = 'loops:show-build-log';
}

/** Commands of loops. Each but `create` and `refresh` takes `{ loop: <id> }`; without it the person is asked. */
export namespace CommandIDs {
  export const create = 'loops:create';
  export const refresh = 'loops:refresh';
  export const notebook = 'loops:new-notebook';
  export const console = 'loops:new-console';
  export const terminal = 'loops:new-terminal';
  export const files = 'loops:show-files';
  export const reveal = 'loops:show-in-panel';
  export const start = 'loops:start';
  export const stop = 'loops:stop';
  export const recreate = 'loops:recreate';
  export const cancel = 'loops:cancel';
  export const rename = 'loops:rename';
  export const archive = 'loops:archive';
  export const unarchive = 'loops:unarchive';
  export const remove = 'loops:delete';
  export const share = 'loops:share';
  export const log = 'loops:show-build-log';
}

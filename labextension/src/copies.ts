import { PathExt } from '@jupyterlab/coreutils';
import type { DocumentRegistry } from '@jupyterlab/docregistry';
import type { Contents } from '@jupyterlab/services';

/**
 * A name that nothing has yet.
 *
 * @param name - Such as `draft.txt`.
 * @param taken - Names that are there.
 * @returns The name itself, or one such as `draft (1).txt`.
 */
export function freeName(name: string, taken: ReadonlySet<string>): string {
  const extension = PathExt.extname(name);
  const stem = name.slice(0, name.length - extension.length);
  let free = name;
  for (let count = 1; taken.has(free); count += 1) {
    free = `${stem} (${count})${extension}`;
  }
  return free;
}

/**
 * Writes what is in open documents to the server's own folder, each under its own name or one that is free.
 *
 * @param contents - Of the server.
 * @param contexts - Of the documents.
 * @returns The names, in the same order.
 */
export async function saveCopies(
  contents: Contents.IManager,
  contexts: readonly DocumentRegistry.Context[]
): Promise<string[]> {
  const root = await contents.get('', { content: true });
  const there = root.content as readonly Contents.IModel[];
  const taken = new Set(there.map(({ name }) => name));
  const names: string[] = [];
  for (const { path, model, contentsModel } of contexts) {
    const name = freeName(PathExt.basename(contents.localPath(path)), taken);
    const isNotebook = contentsModel?.type === 'notebook';
    const isBinary = contentsModel?.format === 'base64';
    await contents.save(name, {
      type: isNotebook ? 'notebook' : 'file',
      format: isNotebook ? 'json' : isBinary ? 'base64' : 'text',
      content: isNotebook ? model.toJSON() : model.toString()
    });
    taken.add(name);
    names.push(name);
  }
  return names;
}

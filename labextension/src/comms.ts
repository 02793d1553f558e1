import type { Kernel } from '@jupyterlab/services';

type Target = Parameters<Kernel.IKernelConnection['registerCommTarget']>;

/** What is needed of a kernel. */
export type Commanding = Pick<
  Kernel.IKernelConnection,
  'handleComms' | 'registerCommTarget'
>;

/**
 * Keeps a kernel from opening anything in the page by itself, as interactive widgets have it.
 *
 * @param kernel - A connection to it.
 * @returns Lets it again, with all that asked to be opened meanwhile.
 */
export function closeComms(kernel: Commanding): () => void {
  if (!kernel.handleComms) {
    return () => undefined;
  }
  const register = kernel.registerCommTarget;
  const asked = new Map<Target[0], Target[1]>();
  kernel.handleComms = false;
  kernel.registerCommTarget = (name, callback) => {
    asked.set(name, callback);
  };
  return () => {
    kernel.registerCommTarget = register;
    kernel.handleComms = true;
    asked.forEach((callback, name) =>
      kernel.registerCommTarget(name, callback)
    );
  };
}
